"""How large a message and its metadata may be, on servers and channels alike."""

from typing import Final

MESSAGE_LIMIT: Final = 4 * 1024 * 1024
METADATA_LIMIT: Final = 16 * 1024

LIMIT_OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.max_send_message_length", MESSAGE_LIMIT),
    # Between the default soft limit (8 KiB) and the hard one, gRPC refuses calls at random.
    ("grpc.max_metadata_size", METADATA_LIMIT),
    ("grpc.absolute_max_metadata_size", METADATA_LIMIT),
)
