"""What the API server itself refuses in namespaces of ours: ValidatingAdmissionPolicies, evaluated in the server."""
