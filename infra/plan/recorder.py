"""Owns recording what a Pulumi program registers: a monitor that answers like an engine and keeps every request.

A subclass of Pulumi's own mock monitor. Two modes: *known* answers with plausible, deterministic computed
outputs (``fill``), so that code inside ``apply`` runs; *unknown* answers as a first real preview does, where
nothing computed is known. A secret's value never leaves the recorder: the record has its digest.

What the records mean is ``plan``; running a program is ``run``. Depends on nothing of the program.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import orjson
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime import mocks, rpc
from pulumi.runtime.proto import resource_pb2

from infra.plan.fill import ANSWERS, Fill

Mode = Literal["known", "unknown"]

SECRET = "$secret"
"""Key of a recorded secret: ``{"$secret": <SHA-256 of its canonical JSON, empty where unknown>}``."""
UNKNOWN = "$unknown"
"""Key of a recorded value that is not known before `up`: ``{"$unknown": true}``."""
REFERENCE = "$resource"
"""Key of a recorded resource reference: ``{"$resource": <URN>}``."""
ASSET = "$asset"
"""Key of a recorded asset or archive: ``{"$asset": {path | text | uri | assets}}``."""

STACK_TYPE = "pulumi:pulumi:Stack"
REFERENCE_TYPE = "pulumi:pulumi:StackReference"
READ_OUTPUTS = "pulumi:pulumi:readStackOutputs"

_SIGNATURE: str = rpc._special_sig_key
_SECRET_SIGNATURE: str = rpc._special_secret_sig
_RESOURCE_SIGNATURE: str = rpc._special_resource_sig
_UNKNOWN_TEXT: str = rpc.UNKNOWN


class RecordError(Exception):
    """A program registers what an engine would refuse; the message says what and how to fix it."""


class _NoMocks(mocks.Mocks):
    """Refuses provider functions: a preview without credentials can answer none."""

    def call(self, args: mocks.MockCallArgs) -> Any:
        raise RecordError(
            f"the program invokes {args.token}, which needs a provider: take the value from the settings instead"
        )

    def new_resource(self, args: mocks.MockResourceArgs) -> Any:
        raise AssertionError(f"unreachable: the recorder answers for {args.typ} itself")


class Recorder(mocks.MockMonitor):
    """Answers registrations and keeps them in ``records``, in order of registration."""

    def __init__(
        self,
        mode: Mode,
        fill: Fill,
        references: Mapping[str, Any] | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        """``references``: outputs of other stacks by stack name; ``state``: what this stack exported before."""
        super().__init__(_NoMocks())
        self.mode = mode
        self.fill = fill
        self.references = dict(references or {})
        self.state = dict(state or {})
        self.records: list[dict[str, Any]] = []
        self.outputs: dict[str, Any] = {}
        self.raw_outputs: struct_pb2.Struct | None = None
        self._urns: dict[str, dict[str, Any]] = {}

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802  the monitor's own name
        """Record the request; answer with its inputs and, in known mode, computed outputs."""
        urn = self.make_urn(request.parent, request.type, request.name)
        if request.type == STACK_TYPE:
            return resource_pb2.RegisterResourceResponse(urn=urn)
        answer = request.object
        record = {
            **self._common(urn, request, answer),
            "custom": request.custom,
            "property_dependencies": {
                key: sorted(value.urns) for key, value in request.propertyDependencies.items() if value.urns
            },
            "protect": request.protect,
            "aliases": [_alias(alias) for alias in request.aliases] + list(request.aliasURNs),
            "retain_on_delete": request.retainOnDelete,
            "delete_before_replace": request.deleteBeforeReplace,
            "ignore_changes": list(request.ignoreChanges),
            "replace_on_changes": list(request.replaceOnChanges),
            "secret_outputs": list(request.additionalSecretOutputs),
            "deleted_with": request.deletedWith,
            "import_id": request.importId,
            "timeouts": _timeouts(request.customTimeouts),
        }
        self._keep(urn, record)
        identifier = ""
        if request.custom and self.mode == "known":
            identifier = request.importId or self.fill.identifier(request.type, request.name, record["inputs"])
            for key, value in self.fill.computed(request.type, request.name, record["inputs"]).items():
                _set(answer, key, value)
        for path, value in self.fill.misfits(request.type, record["inputs"]).items():
            _place(answer, path.split("."), value if self.mode == "known" else _UNKNOWN_TEXT)
        for key in request.additionalSecretOutputs:
            if self.mode == "unknown" and key not in answer.fields:
                # An engine keeps the mark of a secret that is not known yet.
                answer.fields[key].string_value = _UNKNOWN_TEXT
            if key in answer.fields and not _is_signed(answer.fields[key], _SECRET_SIGNATURE):
                _set_secret(answer, key)
        return resource_pb2.RegisterResourceResponse(urn=urn, id=identifier, object=answer)

    def ReadResource(self, request: Any) -> Any:  # noqa: N802
        """Record a read; a StackReference is answered from ``references`` or with plausible contracts."""
        urn = self.make_urn(request.parent, request.type, request.name)
        answer = request.properties
        record = {**self._common(urn, request, answer), "custom": True, "read": True, "import_id": request.id}
        self._keep(urn, record)
        if self.mode == "known":
            if request.type == REFERENCE_TYPE:
                _set(answer, "outputs", self._referenced(request.id))
                _set(answer, "secretOutputNames", [])
            else:
                for key, value in self.fill.computed(request.type, request.name, record["inputs"]).items():
                    _set(answer, key, value)
        elif request.type == REFERENCE_TYPE:
            answer.fields["outputs"].string_value = _UNKNOWN_TEXT
        return resource_pb2.ReadResourceResponse(urn=urn, properties=answer)

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802
        """Keep the outputs of the stack and of components."""
        if request.urn.split("::")[2] == STACK_TYPE:
            self.raw_outputs = request.outputs
            self.outputs = plain_struct(request.outputs)
        elif request.outputs.fields and request.urn in self._urns:
            self._urns[request.urn]["outputs"] = plain_struct(request.outputs)
        return empty_pb2.Empty()

    def Invoke(self, request: Any) -> Any:  # noqa: N802
        """Answer what this stack exported before, and keys of what the program makes itself; refuse the rest."""
        answer = struct_pb2.Struct()
        if request.tok == READ_OUTPUTS:
            answer.update({"outputs": self.state})
            return _answered(answer)
        if request.tok in ANSWERS:
            answer.update(ANSWERS[request.tok])
            for key in ANSWERS[request.tok]:
                _set_secret(answer, key)
            return _answered(answer)
        refuse: Any = super().Invoke
        return refuse(request)

    def _common(self, urn: str, request: Any, inputs: struct_pb2.Struct) -> dict[str, Any]:
        return {
            "urn": urn,
            "type": request.type,
            "name": request.name,
            "parent": request.parent,
            "provider": request.provider,
            "inputs": plain_struct(inputs),
            "dependencies": sorted(request.dependencies),
            "version": request.version,
        }

    def _keep(self, urn: str, record: dict[str, Any]) -> None:
        if urn in self._urns:
            raise RecordError(f"two resources have the URN {urn}: give one of them another logical name")
        self._urns[urn] = record
        self.records.append(record)

    def _referenced(self, stack: str) -> Any:
        for name in (stack, stack.rpartition("/")[2]):
            if name in self.references:
                return self.references[name]
        return self.fill.contracts()


def plain_struct(struct: struct_pb2.Struct) -> Any:
    """A protobuf struct as plain data, with markers for secrets, unknowns, references and assets."""
    fields = struct.fields
    if _SIGNATURE in fields:
        return _signed(fields)
    return {key: plain(value) for key, value in fields.items()}


def plain(value: struct_pb2.Value) -> Any:
    """One protobuf value as plain data; whole numbers are integers."""
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        text = value.string_value
        return {UNKNOWN: True} if text == _UNKNOWN_TEXT else text
    if kind == "struct_value":
        return plain_struct(value.struct_value)
    if kind == "list_value":
        return [plain(item) for item in value.list_value.values]
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "bool_value":
        return value.bool_value
    return None


def reveal(value: struct_pb2.Value) -> Any:
    """One protobuf value as plain data with its secrets in clear: only for handing mock outputs to another program."""
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        fields = value.struct_value.fields
        if _is_signed(value, _SECRET_SIGNATURE):
            return reveal(fields["value"])
        return {key: reveal(item) for key, item in fields.items()}
    if kind == "list_value":
        return [reveal(item) for item in value.list_value.values]
    return plain(value)


def _signed(fields: Any) -> dict[str, Any]:
    signature = fields[_SIGNATURE].string_value
    if signature == _SECRET_SIGNATURE:
        inner = plain(fields["value"])
        return {SECRET: "" if inner == {UNKNOWN: True} else digest(inner)}
    if signature == _RESOURCE_SIGNATURE:
        return {REFERENCE: fields["urn"].string_value}
    return {ASSET: {key: plain(value) for key, value in fields.items() if key != _SIGNATURE}}


def digest(value: Any) -> str:
    """SHA-256 of a value's canonical JSON: enough to notice that a secret changed."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _is_signed(value: struct_pb2.Value, signature: str) -> bool:
    if value.WhichOneof("kind") != "struct_value":
        return False
    fields = value.struct_value.fields
    return _SIGNATURE in fields and fields[_SIGNATURE].string_value == signature


def _set(struct: struct_pb2.Struct, key: str, value: Any) -> None:
    holder = struct_pb2.Struct()
    holder.update({"value": value})
    struct.fields[key].CopyFrom(holder.fields["value"])


def _answered(answer: struct_pb2.Struct) -> Any:
    fields: dict[str, Any] = {"return": answer}  # a keyword of Python: it cannot be named in a call
    return resource_pb2.ResourceInvokeResponse(**fields)


def _place(struct: struct_pb2.Struct, path: list[str], value: Any) -> None:
    for part in path[:-1]:
        struct = struct.fields[part].struct_value
    _set(struct, path[-1], value)


def _set_secret(struct: struct_pb2.Struct, key: str) -> None:
    holder = struct_pb2.Value()
    holder.struct_value.fields[_SIGNATURE].string_value = _SECRET_SIGNATURE
    holder.struct_value.fields["value"].CopyFrom(struct.fields[key])
    struct.fields[key].CopyFrom(holder)


def _alias(alias: Any) -> Any:
    if alias.WhichOneof("alias") == "urn":
        return alias.urn
    spec = alias.spec
    found = {
        "name": spec.name,
        "type": spec.type,
        "stack": spec.stack,
        "project": spec.project,
        "parent": spec.parentUrn,
    }
    return {key: value for key, value in found.items() if value}


def _timeouts(timeouts: Any) -> dict[str, str]:
    found = {"create": timeouts.create, "update": timeouts.update, "delete": timeouts.delete}
    return {key: value for key, value in found.items() if value}
