"""Owns the contract as Envoy wants it: the descriptors of the service that has JSON routes, and of all they need."""

from google.api import annotations_pb2
from google.protobuf import any_pb2
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.rpc import error_details_pb2, status_pb2

from authsvc.v1 import auth_service_pb2

# The last three are what an error's body is made of: without them JSON has no details.
_ROOTS = (auth_service_pb2, annotations_pb2, any_pb2, status_pb2, error_details_pb2)


def descriptor_set() -> bytes:
    """Return the encoded FileDescriptorSet, each file after those that it needs."""
    files: dict[str, FileDescriptor] = {}
    for root in _ROOTS:
        _gather(root.DESCRIPTOR, files)
    found = FileDescriptorSet()
    for file in files.values():
        file.CopyToProto(found.file.add())
    return found.SerializeToString(deterministic=True)


def _gather(file: FileDescriptor, files: dict[str, FileDescriptor]) -> None:
    for needed in file.dependencies:
        _gather(needed, files)
    files.setdefault(file.name, file)
