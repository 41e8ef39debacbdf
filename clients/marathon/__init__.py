"""Marathon over HTTP: its v2 API as a typed, asynchronous client."""
