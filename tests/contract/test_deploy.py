"""What deploy/ promises, checked without a container engine: the files, and the proxy before a real service."""

import json
import os
import re
import stat
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.core.settings import Settings, StoreKind
from tests.contract.proxy import CADDYFILE, Proxy, proxying, swallowing, until
from tests.contract.servers import HOST, binary, free_port
from tests.e2e.conftest import Server, Servers

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
FORMS = {
    "s3": ["compose.yaml"],
    "local": ["compose.yaml", "compose.local.yaml"],
    "tls": ["compose.yaml", "compose.tls.yaml"],
    "model": ["compose.yaml", "compose.model.yaml"],
    "local with model": ["compose.yaml", "compose.local.yaml", "compose.model.yaml"],
}
MEGABYTE = 1024 * 1024


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def run(*command: str, given: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [binary(command[0]), *command[1:]],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=DEPLOY,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environment},
    )


def config(form: str, **variables: str) -> dict[str, Any]:
    """The files of a form as compose understands them, whatever .env may lie there."""
    files = [part for name in FORMS[form] for part in ("-f", name)]
    done = run("docker-compose", "--env-file", "/dev/null", *files, "config", "--format", "json", **variables)
    assert done.returncode == 0, done.stderr
    understood: dict[str, Any] = json.loads(done.stdout)
    return understood


# The image.


def lint(dockerfile: str) -> list[str]:
    done = run("hadolint", "--no-color", "--format", "json", "-", given=dockerfile)
    return [finding["code"] for finding in json.loads(done.stdout)]


def test_the_dockerfile_has_no_finding() -> None:
    assert lint(read("Dockerfile")) == []


def test_an_image_that_runs_as_root_is_seen() -> None:
    assert lint(read("Dockerfile").replace("USER 10001:10001", "USER 0:0")) == ["DL3002"]


def test_the_image_runs_one_process_under_a_fixed_number() -> None:
    shipped = read("Dockerfile").split("\nFROM ")[-1]
    for line in (
        "USER 10001:10001",
        "EXPOSE 8002",
        "STOPSIGNAL SIGTERM",
        'ENTRYPOINT ["live-memory"]',
        'CMD ["serve"]',
        'VOLUME ["/data"]',
    ):
        assert f"\n{line}\n" in shipped
    assert 'CMD ["live-memory", "healthcheck"]' in shipped
    assert "pip install" not in shipped


def test_the_image_is_built_from_files_that_reach_the_builder() -> None:
    allowed = {line.removeprefix("!") for line in read(".dockerignore").splitlines() if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", read("Dockerfile"), re.MULTILINE)
    sources = {source for line in copied for source in line.split()}
    assert sources == allowed
    assert all((ROOT / source).exists() for source in sources)


# Compose.


def weaknesses(understood: dict[str, Any]) -> list[str]:
    """What a service lacks of the protection that each of them is to have."""
    found = []
    for name, service in understood["services"].items():
        wanted = {
            "read_only": service.get("read_only") is True,
            "cap_drop": service.get("cap_drop") == ["ALL"],
            "no-new-privileges": "no-new-privileges:true" in service.get("security_opt", []),
            "init": service.get("init") is True,
            "mem_limit": int(service.get("mem_limit", 0)) > 0,
            "pids_limit": int(service.get("pids_limit", 0)) > 0,
            "tmpfs": all("noexec" in entry and "nosuid" in entry for entry in service.get("tmpfs", [""])),
            "log rotation": "max-size" in service.get("logging", {}).get("options", {}),
            "ports": name == "caddy" or "ports" not in service,
            "privileged": "privileged" not in service,
        }
        found += [f"{name}: {word}" for word, is_so in wanted.items() if not is_so]
    inner = set(understood["networks"]) - {"edge", "model"}
    found += [f"{name}: not internal" for name in inner if not understood["networks"][name].get("internal")]
    return found


@pytest.mark.parametrize("form", FORMS)
def test_every_service_is_confined(form: str) -> None:
    assert weaknesses(config(form)) == []


@pytest.mark.parametrize(
    ("service", "key", "value", "seen"),
    [
        ("live-memory", "read_only", False, "live-memory: read_only"),
        ("live-memory", "ports", [{"target": 8002}], "live-memory: ports"),
        ("s3", "cap_drop", [], "s3: cap_drop"),
        ("caddy", "tmpfs", ["/tmp:size=64m"], "caddy: tmpfs"),  # noqa: S108 - a mount that must be refused
    ],
)
def test_a_planted_weakness_is_seen(service: str, key: str, value: object, seen: str) -> None:
    understood = config("s3")
    understood["services"][service][key] = value
    assert weaknesses(understood) == [seen]


def test_the_service_is_bounded_as_the_guide_says() -> None:
    service = config("s3")["services"]["live-memory"]
    assert int(service["mem_limit"]) == 512 * MEGABYTE
    assert service["pids_limit"] == 256
    assert service["stop_grace_period"] == "1m0s"
    assert service["tmpfs"] == ["/tmp:size=64m,mode=1777,noexec,nosuid,nodev"]  # noqa: S108 - the mount itself


def test_only_the_proxy_is_reached_and_only_on_this_machine() -> None:
    [port] = config("s3")["services"]["caddy"]["ports"]
    assert (port["host_ip"], port["published"], port["target"]) == ("127.0.0.1", "8080", 8080)
    [port] = config("s3", SITE_PORT="9000", SITE_BIND="0.0.0.0")["services"]["caddy"]["ports"]  # noqa: S104 - asked for
    assert (port["host_ip"], port["published"]) == ("0.0.0.0", "9000")  # noqa: S104 - asked for
    ports = config("tls")["services"]["caddy"]["ports"]
    assert {(port["published"], port["target"]) for port in ports} == {("80", 80), ("443", 443)}


def test_the_object_store_is_reached_by_the_service_alone() -> None:
    services = config("s3")["services"]
    assert [name for name, service in services.items() if "store" in service["networks"]] == ["live-memory", "s3"]
    assert list(services["s3"]["networks"]) == ["store"]


def test_only_the_form_with_a_model_has_a_way_out_and_only_for_the_service() -> None:
    assert "model" not in config("s3")["networks"]
    for form, inner in (("model", {"front", "store"}), ("local with model", {"front"})):
        understood = config(form)
        assert set(understood["services"]["live-memory"]["networks"]) == inner | {"model"}
        assert [name for name, service in understood["services"].items() if "model" in service["networks"]] == [
            "live-memory"
        ]
        assert not understood["networks"]["model"].get("internal")
        assert "ports" not in understood["services"]["live-memory"]


def test_the_key_of_the_model_is_a_file_and_its_address_is_given_by_the_operator(tmp_path: Path) -> None:
    understood = config("model")
    service = understood["services"]["live-memory"]
    assert "LLMAAS_API_KEY" not in service["environment"]
    assert "llmaas_api_key" in {secret["source"] for secret in service["secrets"]}
    assert Path(understood["secrets"]["llmaas_api_key"]["file"]) == DEPLOY / "secrets" / "llmaas_api_key"
    assert service["environment"]["LLMAAS_API_KEY_FILE"] == "/run/secrets/llmaas_api_key"
    key = tmp_path / "llmaas_api_key"
    key.write_text("a key\n", encoding="utf-8")
    settings = Settings.for_tests(llmaas_api_url="https://llm.example.org/v1", llmaas_api_key_file=str(key))
    assert settings.llmaas_api_key is not None
    assert settings.llmaas_api_key.get_secret_value() == "a key"


def test_the_local_form_has_no_object_store() -> None:
    understood = config("local")
    assert set(understood["services"]) == {"live-memory", "caddy"}
    assert set(understood["secrets"]) == {"bootstrap_key"}
    assert set(understood["networks"]) == {"edge", "front"}
    assert [name for name in understood["services"]["live-memory"]["environment"] if name.startswith("S3_")] == []


def schema_fault(text: str) -> str:
    done = run(
        "check-jsonschema", "--builtin-schema", "vendor.compose-spec", "--default-filetype", "yaml", "-", given=text
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_the_compose_file_keeps_the_schema() -> None:
    assert schema_fault(read("deploy/compose.yaml")) == ""


def test_a_key_that_compose_does_not_know_is_seen() -> None:
    assert "read_onyl" in schema_fault(read("deploy/compose.yaml").replace("read_only", "read_onyl", 1))


def test_the_images_are_the_versions_that_the_tests_run() -> None:
    services = config("s3")["services"]
    caddy, weed = run("caddy", "version").stdout, run("weed", "version").stdout
    assert services["caddy"]["image"] == f"caddy:{caddy.split()[0].removeprefix('v')}"
    assert f" {services['s3']['image'].split(':')[1]} " in weed


def test_the_example_names_every_variable_with_its_default() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(DEPLOY.glob("compose*.yaml")))
    used = dict(re.findall(r"\$\{([A-Z0-9_]+):-([^}]*)\}", text)) | {"COMPOSE_FILE": "compose.yaml"}
    assert len(re.findall(r"\$\{", text)) == len(re.findall(r"\$\{[A-Z0-9_]+:-", text))
    assert dict(re.findall(r"^#([A-Z0-9_]+)=(.*)$", read("deploy/.env.example"), re.MULTILINE)) == used


# The secrets, and the settings that read them.


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the script wrote."""
    folder = tmp_path_factory.mktemp("deploy") / "secrets"
    done = run("sh", str(DEPLOY / "make-secrets.sh"), str(folder))
    assert done.returncode == 0, done.stderr
    return folder


def test_every_secret_is_made_and_only_its_folder_is_closed(secrets: Path) -> None:
    wanted = {Path(secret["file"]).name for secret in config("s3")["secrets"].values()}
    assert {path.name for path in secrets.iterdir()} == wanted
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    # The engine mounts the file itself, whoever owns it, and the service reads it under another number.
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets.iterdir()} == {0o444}


def test_secrets_differ_and_a_second_run_keeps_them(secrets: Path) -> None:
    before = {path.name: path.read_bytes() for path in secrets.iterdir()}
    assert re.fullmatch(rb"[0-9a-f]{64}", before["bootstrap_key"])
    assert re.fullmatch(rb"[0-9a-f]{64}", before["s3_secret_key"])
    assert before["bootstrap_key"] != before["s3_secret_key"]
    again = run("sh", str(DEPLOY / "make-secrets.sh"), str(secrets))
    assert (again.returncode, again.stdout) == (0, "")
    assert {path.name: path.read_bytes() for path in secrets.iterdir()} == before


def test_the_service_and_the_object_store_are_given_the_same_key(secrets: Path) -> None:
    [identity] = json.loads((secrets / "s3_identities.json").read_text(encoding="utf-8"))["identities"]
    environment = config("s3")["services"]["live-memory"]["environment"]
    assert identity["credentials"] == [
        {"accessKey": environment["S3_ACCESS_KEY_ID"], "secretKey": (secrets / "s3_secret_key").read_text("utf-8")}
    ]


@pytest.mark.parametrize(("form", "store"), [("s3", StoreKind.S3), ("local", StoreKind.DIRECTORY)])
def test_the_service_accepts_its_settings(form: str, store: StoreKind, secrets: Path) -> None:
    understood = config(form)
    mounted = {name: secrets / Path(secret["file"]).name for name, secret in understood["secrets"].items()}
    service = understood["services"]["live-memory"]
    given = {
        name.lower(): str(mounted[value.removeprefix("/run/secrets/")]) if value.startswith("/run/secrets/") else value
        for name, value in service["environment"].items()
    }
    # The image's own part.
    given |= {"mcp_server_host": "0.0.0.0", "live_memory_data_dir": "/data"}  # noqa: S104 - inside its own network
    assert set(given) <= set(Settings.model_fields)
    settings = Settings.for_tests(**given)
    assert settings.live_memory_store is store
    assert settings.admin_bootstrap_key is not None
    assert {secret["source"] for secret in service["secrets"]} == {
        value.removeprefix("/run/secrets/") for value in service["environment"].values() if "/run/secrets/" in value
    }


def test_no_secret_stands_in_the_environment(secrets: Path) -> None:
    text = json.dumps(config("s3"))
    for name in ("bootstrap_key", "s3_secret_key"):
        assert (secrets / name).read_text(encoding="utf-8") not in text
    for service in config("s3")["services"].values():
        plain = [name for name in service.get("environment", {}) if re.search(r"(KEY|SECRET|TOKEN|PASSWORD)$", name)]
        assert plain == []


# The whole form, but for the containers.


OF_A_MACHINE = {"-dir", "-ip.bind", "-s3.port", "-s3.config"}
"""What a process without a container has elsewhere; every other flag is the file's."""


@contextmanager
def object_store(secrets: Path, folder: Path) -> Iterator[str]:
    """The object store with the flags of compose.yaml, and its address."""
    s3 = config("s3")["services"]["s3"]
    [program], flags = s3["entrypoint"], list(s3["command"])
    assert {name for flag in flags if (name := flag.partition("=")[0]) in OF_A_MACHINE} == OF_A_MACHINE
    ports = {name: free_port() for name in ("s3", "master", "volume", "filer", "admin")}
    flags = [flag for flag in flags if flag.partition("=")[0] not in OF_A_MACHINE]
    flags += [f"-dir={folder}", f"-ip.bind={HOST}", f"-s3.config={secrets / 's3_identities.json'}"]
    flags += [f"-{name}.port={port}" for name, port in ports.items()]
    place, health = re.findall(r"http://127\.0\.0\.1:\d+(/\S+)", s3["healthcheck"]["test"][-1])

    def healthy() -> bool:
        try:
            has_place = "fid" in httpx.get(f"http://{HOST}:{ports['master']}{place}", trust_env=False).text
            return has_place and httpx.get(f"http://{HOST}:{ports['s3']}{health}", trust_env=False).is_success
        except httpx.TransportError:
            return False

    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [binary(program), *flags], cwd=folder, stdout=log, stderr=log, env={"PATH": os.environ["PATH"]}
        )
    try:
        until(healthy, "the object store does not become healthy")
        yield f"http://{HOST}:{ports['s3']}"
    finally:
        process.kill()
        process.wait()


def test_a_memory_on_the_object_store_is_served_through_the_proxy(secrets: Path, tmp_path: Path) -> None:
    environment = config("s3")["services"]["live-memory"]["environment"]
    files = {name: str(secrets / Path(value).name) for name, value in environment.items() if "/run/secrets/" in value}
    servers = Servers(tmp_path)
    (tmp_path / "store").mkdir()
    with ExitStack() as stack:
        stack.callback(servers.end)
        address = stack.enter_context(object_store(secrets, tmp_path / "store"))
        server = servers.make(**{**environment, **files, "S3_ENDPOINT_URL": address}).start()
        proxy = stack.enter_context(proxying(server.base_url.removeprefix("http://"), tmp_path / "proxy"))
        proxy.await_status(200)
        key = (secrets / "bootstrap_key").read_text(encoding="utf-8")
        with proxy.http(headers={"Authorization": f"Bearer {key}"}) as http:
            space = {"space_id": "stack", "description": "", "rules": "# R\n\n## n.md\nAll."}
            assert http.post("/api/v1/spaces", json=space).status_code == 201
            note = {"category": "decision", "content": "We keep it on S3."}
            assert http.post("/api/v1/spaces/stack/notes", json=note).status_code == 201
            assert "We keep it on S3." in http.get("/api/v1/spaces/stack/notes").text
        assert not (server.data / "objects").exists()
        assert server.stop() == 0


# The proxy.


def test_the_rules_of_the_proxy_are_valid_and_in_form() -> None:
    done = run("caddy", "adapt", "--config", str(CADDYFILE), "--adapter", "caddyfile", "--validate")
    assert done.returncode == 0, done.stderr
    assert run("caddy", "fmt", str(CADDYFILE)).stdout == read("deploy/Caddyfile")


def test_a_host_name_turns_tls_on() -> None:
    def listens(**environment: str) -> list[str]:
        done = run("caddy", "adapt", "--config", str(CADDYFILE), "--adapter", "caddyfile", **environment)
        servers = json.loads(done.stdout)["apps"]["http"]["servers"]
        return [address for server in servers.values() for address in server["listen"]]

    assert listens() == [":8080"]
    assert listens(SITE_ADDRESS="memory.example.org") == [":443"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Proxy]]:
    """The service with the settings of the local form, behind the proxy."""
    folder = tmp_path_factory.mktemp("served")
    environment = config("local")["services"]["live-memory"]["environment"]
    servers = Servers(folder)
    try:
        server = servers.make(**{name: value for name, value in environment.items() if "/run/" not in value}).start()
        with proxying(server.base_url.removeprefix("http://"), folder / "proxy") as proxy:
            proxy.await_status(200)
            yield server, proxy
    finally:
        servers.end()


def bearer(server: Server) -> dict[str, str]:
    return {"Authorization": f"Bearer {server.admin_key}"}


def test_requests_reach_the_service_with_an_id_of_the_proxy(served: tuple[Server, Proxy]) -> None:
    server, proxy = served
    with proxy.http(headers=bearer(server)) as http:
        answer = http.get("/api/v1/spaces", headers={"X-Request-Id": "chosen-by-the-client"})
        assert answer.status_code == 200
        assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["X-Request-Id"])
        assert not {"server", "via"} & set(answer.headers)
        assert http.get("/health").json()["status"] == "healthy"


def test_a_host_that_is_not_ours_is_refused(served: tuple[Server, Proxy]) -> None:
    server, proxy = served
    with proxy.http(headers=bearer(server)) as http:
        assert http.get("/api/v1/spaces", headers={"Host": "attacker.example"}).json()["code"] == "host_refused"


def test_events_arrive_while_the_stream_is_open(served: tuple[Server, Proxy]) -> None:
    server, proxy = served
    with proxy.http(headers=bearer(server)) as http, http.stream("GET", "/sse") as stream:
        data = (line.removeprefix("data: ") for line in stream.iter_lines() if line.startswith("data: "))
        endpoint = next(data)
        client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
        sent = http.post(endpoint, json={"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": client})
        assert sent.status_code == 202
        assert json.loads(next(data))["result"]["serverInfo"]["name"] == "Live Memory"


def assert_refused(answer: httpx.Response, status: int, code: str) -> None:
    """The proxy's own refusal has the form of the service's."""
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert body["type"] == f"urn:live-memory:problem:{code}"
    assert (body["status"], body["code"], body["errors"]) == (status, code, [])
    assert body["request_id"] == answer.headers["X-Request-Id"]
    assert body["title"]
    assert body["detail"]
    assert "{" not in body["title"] + body["detail"]


def test_the_metrics_are_not_passed_on(served: tuple[Server, Proxy]) -> None:
    _, proxy = served
    with proxy.http() as http:
        assert_refused(http.get("/metrics"), 404, "not_found")
        assert_refused(http.get("/metrics/all"), 404, "not_found")


def test_the_largest_body_reaches_the_service_and_no_larger_one(served: tuple[Server, Proxy]) -> None:
    server, proxy = served
    note = b'{"category": "todo", "content": "x"}'
    with proxy.http(headers=bearer(server) | {"Content-Type": "application/json"}) as http:
        space = {"space_id": "large", "description": "", "rules": "# R"}
        assert http.post("/api/v1/spaces", json=space).status_code == 201
        whole = http.post("/api/v1/spaces/large/notes", content=note.ljust(2 * MEGABYTE))
        assert whole.status_code == 201
        assert_refused(http.post("/api/v1/spaces/large/notes", content=note.ljust(8 * MEGABYTE + 1)), 413, "too_large")


def chunks(size: int) -> Iterator[bytes]:
    yield from (b"x" * MEGABYTE for _ in range(size // MEGABYTE))
    yield b"x" * (size % MEGABYTE)


def test_the_proxy_cuts_a_body_that_the_service_would_read(tmp_path: Path) -> None:
    with swallowing() as upstream, proxying(upstream, tmp_path) as proxy, proxy.http() as http:
        proxy.await_status(200)
        assert http.post("/", content=chunks(8 * MEGABYTE)).status_code == 200
        assert_refused(http.post("/", content=chunks(8 * MEGABYTE + 1)), 413, "too_large")
        assert http.post("/", content=b"x" * (8 * MEGABYTE)).status_code == 200
        assert_refused(http.post("/", content=b"x" * (8 * MEGABYTE + 1)), 413, "too_large")
        assert http.get("/", headers={"X-Large": "x" * 20_000}).status_code == 200
        assert http.get("/", headers={"X-Large": "x" * 60_000}).status_code == 431


def test_the_service_is_told_the_real_peer_and_no_invented_one(tmp_path: Path) -> None:
    with swallowing() as upstream, proxying(upstream, tmp_path) as proxy, proxy.http() as http:
        proxy.await_status(200)
        seen = http.post("/", headers={"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"}).json()
    assert (seen["X-Forwarded-For"], seen["X-Forwarded-Proto"]) == (HOST, "http")


SECRET = "lm_live_5ecret5ecret5ecret"  # noqa: S105 - what must not be found in a log


def send_secrets(proxy: Proxy, path: str) -> httpx.Response:
    """Give a request a secret wherever one may stand."""
    with proxy.http(cookies={"session": SECRET}) as http:
        return http.get(
            path,
            params={"token": SECRET, "access_token": SECRET, "query": SECRET, "limit": "20"},
            headers={"Authorization": f"Bearer {SECRET}", "Referer": f"http://a.example/?token={SECRET}"},
        )


@pytest.mark.parametrize("path", ["/api/v1/spaces", "/metrics"], ids=["passed on", "refused"])
def test_the_log_tells_of_a_request_and_not_its_secrets(served: tuple[Server, Proxy], path: str) -> None:
    _, proxy = served
    send_secrets(proxy, path)
    line = proxy.requests(path)[-1]
    assert "limit=20" in line["request"]["uri"]
    assert SECRET not in proxy.log.read_text(encoding="utf-8")


def test_a_service_that_is_gone_is_a_503_and_its_log_holds_no_secret(tmp_path: Path) -> None:
    with proxying(f"{HOST}:{free_port()}", tmp_path) as proxy:
        answer = send_secrets(proxy, "/api/v1/spaces")
        assert_refused(answer, 503, "unavailable")
        assert answer.headers["Retry-After"] == "2"
        assert proxy.requests("/api/v1/spaces")[-1]["status"] == 503
        assert SECRET not in proxy.log.read_text(encoding="utf-8")


def test_a_log_without_its_filter_shows_them(tmp_path: Path) -> None:
    def unfiltered(rules: str) -> str:
        return rules.replace("import quiet", "")

    with swallowing() as upstream, proxying(upstream, tmp_path, change=unfiltered) as proxy:
        proxy.await_status(200)
        send_secrets(proxy, "/api/v1/spaces")
        proxy.requests("/api/v1/spaces")
        assert SECRET in proxy.log.read_text(encoding="utf-8")
