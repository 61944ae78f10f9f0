"""What a night will be like, drawn from its seed: who sells, what goes wrong, how often and when, what people do."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from decimal import Decimal

from runner.budget import Money, Price
from runner.job import Spec, job_key
from runner.limits import Limits, Rate
from runner.providers import Provider, presets
from runner.simulator import Fault, Settings
from runner.simulator.settings import Latency
from runner.store import Batch

HOST = "sim.example"
PRICE = Decimal("0.35")
FAL_MODEL = "fal-ai/kling-video/v2.5-turbo/pro/text-to-video"
KLING_MODEL = "v1/videos/text2video"
GATEWAY_MODEL = f"kling/{KLING_MODEL}"
SELLERS = {
    FAL_MODEL: ("fal", "winfull", "quickrouter", "uniapi"),
    KLING_MODEL: ("kling",),
    GATEWAY_MODEL: ("kling-gateway", "quickrouter", "winfull"),
}
"""Who sells what: a batch can be moved to another seller of its model."""
_REMOTE_ID = (
    "*/" + "[0-9]" * 18
)  # a look-up by our own reference must not be lied to: nobody could notice

# fal documents a typed 5xx of a result as the job's own failure, so it is no lie there: status routes only.
# Faults of the provider: name, argument choices, path.
_LIES: tuple[tuple[str, tuple[float | str | None, ...], str], ...] = (
    ("too-many", (0, 1, 30), "*"),
    ("too-many-once", (None,), "*"),
    ("over-concurrency", (3,), "*"),
    ("server-error-on-submit", (503, 500), "*"),
    ("server-error-on-poll", (503, 500, 504), "*/status"),
    ("server-error-on-poll", (503, 500, 504), "*/v1/*"),
    ("nginx-error", (502, 504), "*"),
    ("content-refused", (None,), "*"),
    *((f"redirect-{status}", ("https://elsewhere.example",), "*") for status in (301, 302, 307, 308)),
    *((f"accepted-then-{how}", (None,), "*")
      for how in ("500", "502", "504", "408", "empty", "html", "truncated", "no-id", "hang",
                  "dropped")),
    ("drop-before-accept", (None,), "*"),
    ("hang", (20, 3600), "*"),
    ("slow-answer", (5, 50), "*"),
    ("integer-ids", (None,), "*"),
    ("foreign-urls", ("https://elsewhere.example",), "*"),
    ("completed-with-error", (None,), "/fal-ai/*"),
    ("result-refused", (None,), "/fal-ai/*"),
    ("task-failed", (None,), "*/v1/*"),
    ("sweeper-failure", (None,), "/kling/*"),
    ("never-finishes", (None,), "*"),
    ("no-video", (None,), "*"),
    ("always-200", (None,), "*"),
    ("status-route-missing", (404, 405), "*"),
    ("early-result", (400, 500), "*"),
    ("status-regresses", (None,), "*"),
    ("unknown-status", ("REVIEWING", "\x1b[31mdone"), "*"),
    ("task-forgotten", (None,), _REMOTE_ID),
    ("task-forgotten", (None,), "/fal-ai/*"),
    ("minimal-file", (None,), "*"),
    ("truncated-json", (None,), "*"),
    ("empty-answer", (None,), "*"),
    ("html-answer", (None,), "*"),
    ("token-expires", (300,), "*/v1/*"),
    ("result-expires", (0, 600), "*"),
    ("media-no-length", (None,), "*"),
    ("media-wrong-type", (None,), "*"),
    ("media-ignores-range", (None,), "*"),
    ("media-cut", (0.1, 0.9), "*"),
    ("media-empty", (None,), "*"),
    ("media-html", (None,), "*"),
    ("media-disguised", (None,), "*"),
    ("media-redirect", ("https://elsewhere.example",), "*"),
    ("media-403", (None,), "*"),
    ("media-404", (None,), "*"),
    ("media-503", (None,), "*"),
    ("media-slow", (100, 9000), "*"),
    ("media-gzip", (None,), "*"),
)  # fmt: skip

NETWORK = ("unreachable", "lost", "late", "unanswered", "slow", "doubled")
"""Faults of the road; see `network.py`."""
DISK = ("disk-full", "disk-error")
"""Faults of the disk; see `disk.py`."""
_WINDOWS = ("out-of-money", "bad-key", "too-many", "no-channel", "unreachable", "media-503",
            "server-error-on-submit", "server-error-on-poll")  # fmt: skip
_OUTAGES = ("unreachable", "nginx-error")


@dataclass(frozen=True, slots=True)
class Window:
    """A time in which one thing is wrong altogether. Times in seconds after dawn."""

    start: float
    end: float
    name: str
    system: str


@dataclass(frozen=True, slots=True)
class Shake:
    """A moment that changes time (`jump`, `suspend`, by so many seconds) or asks the program to stop (`stop`)."""

    at: float
    name: str
    amount: float = 0.0


@dataclass(frozen=True, slots=True)
class Terms:
    """What is typed to start a life: `--budget`, `--until` (here: seconds from then on), `--limit`."""

    budget: Money | None = None
    until: float | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Shop:
    """A batch, and what it is made with."""

    model: str
    batch: Batch


@dataclass(frozen=True, slots=True)
class Plan:
    """One night. Everything that is not drawn here is drawn by dice that are seeded from here."""

    seed: int
    shops: tuple[Shop, ...]
    providers: dict[str, Provider]
    jobs: int
    settings: Settings
    faults: tuple[Fault, ...]
    repeats: float
    """Share of receipts that name the id of an earlier job."""
    network: dict[str, float]
    windows: tuple[Window, ...]
    shakes: tuple[Shake, ...]
    kills: tuple[int, ...]
    terms: tuple[Terms, ...]
    calm_at: float

    @property
    def jumps(self) -> bool:
        """Whether the calendar jumps, or the machine sleeps."""
        return any(shake.name != "stop" for shake in self.shakes)

    @classmethod
    def draw(cls, seed: int) -> Plan:
        """Draw the night of a seed."""
        dice = random.Random(f"night {seed}")
        jobs = dice.choice([10, 40, 100, 150])
        calm_at = dice.uniform(1200, 7200)
        expiry = dice.choice([None, None, 3600.0, 86400.0])
        settings = Settings(
            seed=seed,
            queue=Latency("uniform", 0.5, dice.choice([2.0, 30.0])),
            run=Latency("lognormal", *dice.choice([(60.0, 120.0), (150.0, 600.0), (20.0, 900.0)])),
            concurrency=dice.choice([5, 20, 100]),
            result_ttl=expiry,
            expired_status=dice.choice([403, 404, 410]),
            price=float(PRICE),
            log_limit=0,
        )
        names = sorted({name for sellers in SELLERS.values() for name in sellers})
        providers = {name: _provider(dice, name, expiry) for name in names}
        shops = (
            _shop(dice, FAL_MODEL, "reef", jobs),
            _shop(dice, dice.choice([KLING_MODEL, KLING_MODEL, GATEWAY_MODEL]), "dune", jobs),
        )
        sellers = [shop.batch.provider for shop in shops]
        windows = _windows(dice, calm_at, sellers) + _outage(dice, calm_at, sellers)
        calm_at = max([calm_at, *(window.end for window in windows)])
        return cls(
            seed, shops, providers, jobs, settings, _faults(dice),
            dice.choice([0.0, 0.0, 0.03, 0.2]), _road(dice), windows, _shakes(dice, calm_at),
            tuple(int(10 ** dice.uniform(1.5, 4.5)) for _ in range(dice.choice([0, 1, 2, 3, 5]))),
            tuple(_terms(dice, jobs) for _ in range(dice.choice([0, 0, 1, 2, 3]))), calm_at,
        )  # fmt: skip


def make_spec(model: str, batch: str, index: int) -> Spec:
    """One job of a batch; its prompt names it."""
    body = {"prompt": f"{batch} take {index}", "duration": "5"}
    if "/v1/" in f"/{model}":
        body["model_name"] = "kling-v2-5-turbo"
    key = job_key(batch, model, body, "", 0)
    return Spec(key, batch, key[:8], index, 0, model, body, f"{batch}/{index:04}.${{{{ ext }}}}")


def _provider(dice: random.Random, name: str, expiry: float | None) -> Provider:
    """A system's preset, led to the simulator."""
    preset = presets()[name]
    rate = dice.choice([None, None, Rate(10, 60.0), Rate(5, 10.0)])
    return replace(
        preset,
        base_url=f"https://{HOST}/as/{name}",
        prices=dict.fromkeys(SELLERS, Price(per_job=PRICE)),
        limits=Limits(
            submits=rate, in_flight=dice.choice([None, 5, 30]), posts=dice.choice([1, 8])
        ),
        fal=replace(preset.fal, result_lifetime=expiry),
        kling=replace(preset.kling, result_lifetime=expiry),
    )


def _shop(dice: random.Random, model: str, batch: str, jobs: int) -> Shop:
    share = dice.choice([None, None, 0.3, 0.8])
    return Shop(
        model,
        Batch(
            batch, f"{batch}.yaml", "digest", dice.choice(SELLERS[model]),
            on_doubt=dice.choice(["hold", "hold", "resubmit"]), timeout=dice.choice([3600.0, 7200.0]),
            budget=None if share is None else money(int(jobs * share / 2)),
        ),
    )  # fmt: skip


def money(jobs: int) -> Money:
    """Enough for so many jobs, and not for one more."""
    return Money.of(PRICE * jobs + Decimal("0.10"), "USD")


def _terms(dice: random.Random, jobs: int) -> Terms:
    return Terms(
        dice.choice([None, money(dice.randint(0, jobs))]),
        dice.choice([None, 10 ** dice.uniform(1.0, 3.5)]),
        dice.choice([None, None, dice.randint(1, jobs)]),
    )


def _faults(dice: random.Random) -> tuple[Fault, ...]:
    chosen = dice.sample(_LIES, dice.choice([0, 3, 8, 15]))
    return tuple(
        Fault(name, path=path, rate=10 ** dice.uniform(-2.5, -1.0), arg=dice.choice(args))
        for name, args, path in chosen
    )


def _road(dice: random.Random) -> dict[str, float]:
    chosen = dice.sample(NETWORK, dice.choice([0, 2, 4]))
    return {name: 10 ** dice.uniform(-2.5, -1.3) for name in chosen}


def _windows(dice: random.Random, calm_at: float, sellers: list[str]) -> tuple[Window, ...]:
    """Times of trouble, most of them early, where most of the work is."""
    found = []
    for _ in range(dice.choice([0, 1, 2, 3])):
        start = calm_at * dice.random() ** 2
        end = min(calm_at, start + 10 ** dice.uniform(1.0, 3.3))
        system = dice.choice(["*", *sellers])
        found.append(Window(start, end, dice.choice(_WINDOWS), system))
    for _ in range(dice.choice([0, 0, 1, 2])):
        start = dice.uniform(0, 900)
        found.append(Window(start, start + 10 ** dice.uniform(1.5, 2.9), dice.choice(DISK), "*"))
    return tuple(found)


def _outage(dice: random.Random, calm_at: float, sellers: list[str]) -> tuple[Window, ...]:
    """Now and then nobody is there for hours, or nothing but a front proxy's error page."""
    if dice.random() > 0.15:
        return ()
    start = dice.uniform(0, calm_at)
    hours = dice.uniform(1.0, 8.0)
    name, system = dice.choice(_OUTAGES), dice.choice(["*", *sellers])
    return (Window(start, start + hours * 3600, name, system),)


def _shakes(dice: random.Random, calm_at: float) -> tuple[Shake, ...]:
    found = []
    for _ in range(dice.choice([0, 0, 1, 3])):
        name = dice.choice(["jump", "suspend", "stop"])
        amount = {
            "jump": dice.choice([-86400.0, 86400.0, -3600.0, 5.0]),
            "suspend": 28800.0,
            "stop": 0.0,
        }
        found.append(Shake(dice.uniform(0, calm_at), name, amount[name]))
    return tuple(sorted(found, key=lambda shake: shake.at))
