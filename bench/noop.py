"""The ceiling: a Tornado handler that parses JSON, answers 202 and does nothing else. `python -m bench.noop PORT`."""

import asyncio
import sys

import orjson
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler


class Noop(RequestHandler):
    """Accepts everything and keeps nothing."""

    async def post(self) -> None:
        orjson.loads(self.request.body)
        self.set_status(202)
        self.set_header("Content-Type", "application/json")
        self.finish(orjson.dumps({"id": "none", "status": "queued"}))


async def main(port: int) -> None:
    server = HTTPServer(Application([("/email", Noop)], log_function=lambda handler: None))
    server.listen(port, "127.0.0.1")
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
