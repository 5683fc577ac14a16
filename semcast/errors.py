"""The four ways semcast fails, and what each becomes at the edges.

| exception          | command line | gRPC status          | HTTP |
|--------------------|--------------|----------------------|------|
| `InputError`       | exit 2       | `INVALID_ARGUMENT`   | 422  |
| `NotFoundError`    | exit 2       | `NOT_FOUND`          | 404  |
| `CapacityError`    | exit 1       | `RESOURCE_EXHAUSTED` | 503  |
| `UnavailableError` | exit 1       | `UNAVAILABLE`        | 503  |

The message is one sentence a user can act on: what is wrong, where, and what to do. It travels
unchanged from the service that raised it to the person who caused it.
"""


class SemcastError(Exception):
    """Base of the errors that carry a sentence meant for the user."""


class InputError(SemcastError):
    """What the caller gave cannot be used: a file, a value, a combination of options."""


class NotFoundError(InputError):
    """What the caller named does not exist: a clip, a session, a scheme, a model."""


class CapacityError(SemcastError):
    """The request is sound, but this machine cannot serve it now."""


class UnavailableError(SemcastError):
    """A service that is needed cannot be reached."""
