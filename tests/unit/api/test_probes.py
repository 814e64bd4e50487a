from app.core.errors import StoreUnavailable
from tests.unit.api.edge_app import StandInServices, asking, make_app


async def test_health_looks_at_nothing_but_the_process() -> None:
    services = StandInServices()
    services.outage = StoreUnavailable()
    async with asking(make_app(services=services)) as client:
        response = await client.get("/health")
    assert response.status_code == 200
    assert response.json() == {"status": "healthy", "service": "live-memory", "version": "1.2.3"}


async def test_ready_when_everything_answers() -> None:
    async with asking(make_app(services=StandInServices({"store": "ok", "jobs": "ok"}))) as client:
        response = await client.get("/ready")
    assert response.status_code == 200
    assert response.json() == {"status": "ready", "checks": {"store": "ok", "jobs": "ok"}}


async def test_not_ready_while_something_does_not() -> None:
    async with asking(make_app(services=StandInServices({"store": "unreachable"}))) as client:
        response = await client.get("/ready")
    assert response.status_code == 503
    assert response.json() == {"status": "not_ready", "checks": {"store": "unreachable"}}


async def test_a_check_that_fails_is_an_answer_and_not_a_crash() -> None:
    services = StandInServices()
    services.outage = StoreUnavailable()
    async with asking(make_app(services=services)) as client:
        response = await client.get("/ready")
    assert response.status_code == 503
    assert response.json()["checks"] == {"store": "store_unavailable"}


async def test_a_process_that_is_told_to_stop_is_not_ready_but_lives() -> None:
    app = make_app()
    app.state.draining = True
    async with asking(app) as client:
        assert (await client.get("/ready")).json()["checks"]["process"] == "draining"
        assert (await client.get("/ready")).status_code == 503
        assert (await client.get("/health")).status_code == 200
