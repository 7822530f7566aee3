"""The data plane: one process that serves 1 to 1,500 agents. Answers nobody without an identity token."""
