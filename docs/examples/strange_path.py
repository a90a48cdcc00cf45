"""What one request with a strange path does to a grpc.aio server: `python -m docs.examples.strange_path`.

It prints `True` as long as the server can be connected to, before the request and after it.
"""

import asyncio
import socket

import grpc
import h2.connection


async def main() -> None:
    server = grpc.aio.server()
    address = ("127.0.0.1", server.add_insecure_port("127.0.0.1:0"))
    await server.start()
    http, caller = h2.connection.H2Connection(), socket.create_connection(address)
    http.initiate_connection()
    names = (b":method", b":scheme", b":path", b":authority", b"te", b"content-type")
    values = (b"POST", b"http", b"/a.B/C?\xff", b"a", b"trailers", b"application/grpc")
    http.send_headers(1, list(zip(names, values, strict=True)))
    print("before:", socket.socket().connect_ex(address) == 0)  # noqa: T201 (a program of its own)
    caller.sendall(http.data_to_send())
    await asyncio.sleep(1)
    print("after:", socket.socket().connect_ex(address) == 0)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main())
