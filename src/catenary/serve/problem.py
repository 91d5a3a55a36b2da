"""What the server refuses: a status, a code for programs, and one sentence for people."""

from __future__ import annotations

__all__ = ["CODES", "Problem"]

#: Code of each status where a problem names none of its own.
CODES = {
    400: "bad_request",
    401: "token_needed",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "too_slow",
    409: "conflict",
    413: "too_large",
    415: "wrong_type",
    421: "wrong_host",
    422: "cannot_be_used",
    429: "busy",
    500: "internal",
    503: "not_available",
    507: "disk_full",
}


class Problem(Exception):
    """A request that is refused.

    Args:
        status: The HTTP status.
        message: One sentence: what is wrong, the value found, the remedy.
        code: For programs; that of the status when empty.
        headers: Further headers of the answer.

    >>> Problem(413, "the file has 3 GB").body()
    {'error': {'code': 'too_large', 'message': 'the file has 3 GB'}}
    """

    def __init__(self, status: int, message: str, *, code: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code or CODES.get(status, "error")
        self.headers = headers or {}

    def body(self) -> dict[str, dict[str, str]]:
        """What is answered as JSON."""
        return {"error": {"code": self.code, "message": self.message}}
