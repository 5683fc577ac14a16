"""What a decoder says of a payload it cannot parse."""


class CorruptPayloadError(Exception):
    """The bits are no payload of this codec (they passed their CRC by chance, or never had one).

    Never reaches a user: whoever called the decoder conceals the picture and goes on.
    """
