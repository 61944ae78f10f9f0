"""The network: sends a request to a provider, and opens a result for reading. Nothing else imports aiohttp's client.

Rules:

1. A key goes to the origin of its provider's base URL and nowhere else. `Http._authorization` is the only place that
   adds one.
2. No redirect is followed with a key. Those of a result are, without one, and each hop is checked.
3. A paid request leaves once, on a connection of its own. When it has no answer, the error says whether it left:
   `NotSent` or `MaybeSent`.
4. Errors of aiohttp end here, texts and causes: they can hold keys and signed URLs.
"""

from __future__ import annotations

from runner.http.client import BODY_CAP, Http
from runner.http.results import HOPS, Stream

__all__ = ["BODY_CAP", "HOPS", "Http", "Stream"]
