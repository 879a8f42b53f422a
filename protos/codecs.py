"""Which codecs there are."""

from protos.codec import Codec
from protos.json_codec import JsonCodec
from protos.protobuf_codec import ProtobufCodec

JSON: Codec = JsonCodec()
PROTOBUF: Codec = ProtobufCodec()
CODECS = {codec.name: codec for codec in (JSON, PROTOBUF)}
BY_MEDIA_TYPE = {codec.media_type: codec for codec in CODECS.values()}
