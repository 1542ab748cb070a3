"""An app in this process, asked as by HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from fastapi import FastAPI


class Client:
    """Asks an app, one request at a time."""

    def __init__(self, app: FastAPI, host: str) -> None:
        self.app = app
        self.base_url = f"http://{host}"

    def request(self, method: str, path: str, **rest: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=self.base_url) as client:
                return await client.request(method, path, **rest)

        return asyncio.run(send())

    def get(self, path: str, **rest: Any) -> httpx.Response:
        return self.request("GET", path, **rest)

    def post(self, path: str, **rest: Any) -> httpx.Response:
        return self.request("POST", path, **rest)

    def put(self, path: str, **rest: Any) -> httpx.Response:
        return self.request("PUT", path, **rest)
