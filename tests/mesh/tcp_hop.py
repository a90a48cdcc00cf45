"""A hop that knows TCP alone, as a program: `python -m tests.mesh.tcp_hop HOST PORT NEXT_HOST NEXT_PORT`."""

import asyncio
import sys

from tests.mesh.foreign_hop import serve

if __name__ == "__main__":
    host, port, next_host, next_port = sys.argv[1:]
    asyncio.run(serve(f"{host}:{port}", f"{next_host}:{next_port}", "nothing"))
