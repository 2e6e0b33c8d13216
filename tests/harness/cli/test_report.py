import http.client
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli.report import command
from harness.errors import UserError
from harness.report.html.server import ReportServer

RESULTS = Path(__file__).parents[3] / "results"


def get(server, path="/", host=None):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request("GET", path, headers={"Host": host} if host else {})
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


@pytest.fixture
def serve():
    started = []

    def start(make):
        server = ReportServer(make, 0)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        started.append((server, thread))
        return server

    yield start
    for server, thread in started:
        server.shutdown()
        server.server_close()
        thread.join()


def test_the_page_is_made_anew_at_every_visit_and_nothing_else_is_served(serve):
    pages = iter(["<p>one é</p>", "<p>two</p>"])
    server = serve(lambda: next(pages))
    assert get(server) == (200, "<p>one é</p>")
    assert get(server, "/?reload") == (200, "<p>two</p>")
    assert get(server, "/etc/passwd")[0] == 404
    assert server.server_address[0] == "127.0.0.1"


def test_another_site_whose_name_leads_here_gets_nothing(serve):
    server = serve(lambda: "secret")
    status, text = get(server, host="evil.example:80")
    assert status == 403 and "secret" not in text
    assert get(server, host=f"localhost:{server.server_port}") == (200, "secret")


def test_an_error_of_the_user_is_shown_instead_of_the_page(serve):
    def make():
        raise UserError("no such <b>suite</b>")

    assert get(serve(make)) == (500, "no such <b>suite</b>\n")


def test_a_port_that_is_taken_is_an_error_with_a_repair(serve):
    server = serve(lambda: "")
    with pytest.raises(UserError, match=rf"{server.server_port}.*--port"):
        ReportServer(lambda: "", server.server_port)


def test_one_file_is_written_and_named(tmp_path):
    output = tmp_path / "new" / "page.html"
    result = CliRunner().invoke(command, ["quickstart", "--results", str(RESULTS), "-o", str(output)])
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"{output} (1.")
    assert output.read_text(encoding="utf8").startswith("<!doctype html>")
    assert [path.name for path in output.parent.iterdir()] == ["page.html"]


def test_a_folder_without_results_is_an_error(tmp_path):
    result = CliRunner().invoke(command, ["--results", str(tmp_path)])
    assert isinstance(result.exception, UserError)
    assert "--results" in str(result.exception)


def test_ctrl_c_ends_the_server_without_a_traceback():
    code = "from harness.cli.report import command; command()"
    arguments = [sys.executable, "-u", "-c", code, "quickstart", "--serve", "--port", "0", "--results", str(RESULTS)]
    environment = os.environ | {"PYTHONPATH": str(RESULTS.parent)}
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout.readline().startswith("http://127.0.0.1:")
            process.send_signal(signal.SIGINT)
            rest, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, rest, errors) == (0, "ended\n", "")
