"""Measure `augsuite convert` beside globox, Datumaro, supervision, FiftyOne and PyLabel, on a file of the shape of COCO train2017.

    python bench/convert.py [--images 118287] [--repeats 3] [--only coco-voc,...] [--peers globox,datumaro,...|none] [--json FILE|-]

docs/benchmarks.md says what is measured and how. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

import inputs
import machine
import outputs
import peers
import report
import train2017
from measure import Cost, measured

HERE = Path(__file__).resolve().parent
CONVERSIONS = ("coco-voc", "coco-csv", "coco-yolo", "voc-coco", "csv-coco")
STREAMED = ("csv", "parquet", "webdataset")
ENVIRONMENTS = "AUGSUITE_BENCH_PEERS"


@dataclass
class Result:
    """What one program took for one conversion.

    Attributes:
        conversion: such as `coco-voc`.
        tool: `augsuite`, `floor`, or a peer.
        images: of how many images.
        costs: of each repeat.
        failure: why there are no figures.
        files: written.
        megabytes: written.
        boxes: written; None for the floor.
    """

    conversion: str
    tool: str
    images: int
    costs: list[Cost] = field(default_factory=list)
    failure: str | None = None
    files: int = 0
    megabytes: float = 0.0
    boxes: int | None = None

    def median(self, what: str) -> float | None:
        """The median over the repeats of `cpu_s`, `wall_s` or `peak_mb`; None where it failed."""
        return None if self.failure else statistics.median(getattr(cost, what) for cost in self.costs)


@dataclass
class Bench:
    """Where things are, and how much each may take."""

    work: Path
    environments: Path
    limit_s: float
    memory: int

    def inputs(self, images: int) -> Path:
        """The made-up dataset of so many images."""
        return self.work / f"train2017-{images}"

    def run(self, command: list[str | Path], peer: bool = False) -> Cost:
        """Run a command to its end; a peer with a limit of memory."""
        return measured(
            [str(word) for word in command], self.limit_s, self.memory if peer else 0, self.work / "log.txt"
        )

    def augsuite(self, source: Path, to: str, *options: str) -> Cost:
        """Run our command line as it is installed."""
        self.clear()
        return self.run([inputs.AUGSUITE, "convert", source, self.out, "--to", to, *options])

    @property
    def out(self) -> Path:
        """The folder that a conversion writes."""
        return self.work / "out"

    def clear(self) -> None:
        """Remove it."""
        shutil.rmtree(self.out, ignore_errors=True)

    def once(self, result: Result) -> None:
        """Run one conversion by one program once."""
        source, (start, _, end) = self.inputs(result.images), result.conversion.partition("-")
        listing = self.work / f"{result.conversion}-{result.images}.sizes"
        if result.tool == "augsuite":
            cost = self.augsuite(source / start, end, "--images", "none", "--workers", "1")
        else:
            self.clear()
            if result.tool == "floor":
                read = inputs.coco_file(source) if start == "coco" else source / start
                cost = self.run([sys.executable, HERE / "floor.py", result.conversion, read, self.out, listing])
            else:
                cost = self.run(
                    peers.KNOWN[result.tool].command(self.environments, result.conversion, source, self.out), peer=True
                )
        result.costs.append(cost)
        result.failure = cost.failure
        if not cost.failure and not result.files:
            sizes = outputs.sizes(self.out)
            result.files, result.megabytes = len(sizes), sum(sizes) / 1e6
            if result.tool != "floor":
                result.boxes = outputs.boxes(self.out, end)
            if result.tool == "augsuite":
                listing.write_bytes(sizes.tobytes())
        self.clear()
        tell(f"{result.conversion} {result.images:,} {result.tool}: {said(cost)}")


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def said(cost: Cost) -> str:
    return cost.failure or f"{cost.cpu_s:.2f} s CPU, {cost.wall_s:.2f} s, {cost.peak_mb:,.0f} MB"


def compare(bench: Bench, options: argparse.Namespace) -> list[Result]:
    """Each conversion by us, by the floor and by each peer, in turns."""
    results = []
    for conversion in options.only:
        ours = {options.images: [Result(conversion, tool, options.images) for tool in ("augsuite", "floor")]}
        for name in options.peers:
            peer = peers.KNOWN[name]
            images = min(
                options.images, peer.most or options.images, options.peer_images if peer.most else options.images
            )
            alone = ours.setdefault(images, [Result(conversion, "augsuite", images)])
            failure = peer.unable.get(conversion) or peers.prepare(bench.environments, peer)
            alone.append(Result(conversion, name, images, failure=failure))
        results += [result for group in ours.values() for result in group]
    for images in {result.images for result in results}:
        pictures = any(result.images == images and result.tool not in {"augsuite", "floor"} for result in results)
        inputs.make(bench.inputs(images), images, converted=True, pictures=pictures)
    for repeat in range(options.repeats):
        for result in results:
            is_peer = result.tool in peers.KNOWN
            if result.failure is None and (repeat < options.peer_repeats or not is_peer):
                bench.once(result)
    return results


def workers(bench: Bench, options: argparse.Namespace) -> list[dict[str, object]]:
    """One process and two: time on the clock, and whether the bytes are the same."""
    rows = []
    for conversion in options.only:
        start, _, end = conversion.partition("-")
        walls, digests, failure = [], [], None
        for number in ("1", "2"):
            cost = bench.augsuite(bench.inputs(options.images) / start, end, "--images", "none", "--workers", number)
            tell(f"{conversion} {options.images:,} --workers {number}: {said(cost)}")
            failure = failure or cost.failure
            walls.append(cost.wall_s)
            digests.append(outputs.digest(bench.out) if not cost.failure else None)
        bench.clear()
        same = failure is None and digests[0] == digests[1]
        rows.append({"conversion": conversion, "wall_s": walls, "same_bytes": same, "failure": failure})
    return rows


def stream(bench: Bench, options: argparse.Namespace) -> list[dict[str, object]]:
    """Peak memory of `--stream` at the size asked for and at twice that; WebDataset with the image files inside."""
    rows = []
    for times in (1, 2):
        images = options.images * times
        inputs.make(bench.inputs(images), images, converted=False, pictures=True)
        for to in STREAMED:
            photos = to == "webdataset"
            source = bench.inputs(images) / ("photos" if photos else "coco")
            cost = bench.augsuite(source, to, "--stream", "--images", "copy" if photos else "none")
            tell(f"coco-{to} --stream {images:,}: {said(cost)}")
            rows.append({"conversion": f"coco-{to}", "times": times, "images": images, **asdict(cost)})
        bench.clear()
    return rows


def parse() -> argparse.Namespace:
    def listed(known: tuple[str, ...]):  # noqa: ANN202 - what argparse calls
        def split(text: str) -> list[str]:
            words = [] if text == "none" else text.split(",")
            for word in words:
                if word not in known:
                    raise argparse.ArgumentTypeError(f"{word!r} is none of {', '.join(known)}")
            return words

        return split

    every = tuple(peers.KNOWN)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--images", type=int, default=train2017.IMAGES, help="how many (default: %(default)s)")
    add("--repeats", type=int, default=3, help="of us and the floor; medians are shown (default: %(default)s)")
    add("--peer-repeats", type=int, default=1, help="of each peer, which takes minutes (default: %(default)s)")
    add("--only", type=listed(CONVERSIONS), default=list(CONVERSIONS), help=f"some of {','.join(CONVERSIONS)}")
    add("--peers", type=listed(every), default=list(every), help=f"some of {','.join(every)}, or none")
    add("--peer-images", type=int, default=20_000, help="images at most for the slow peers (default: %(default)s)")
    add("--no-extras", action="store_true", help="leave out --workers and --stream")
    add("--limit", type=float, default=900, help="seconds for one conversion (default: %(default)s)")
    add("--json", metavar="FILE", help="write all figures; - for standard output, and the tables go to standard error")
    add("--work", type=Path, help="keep the made-up datasets here (default: a temporary folder in memory, in /dev/shm)")
    default = Path(os.environ.get(ENVIRONMENTS) or HERE.parent / ".bench" / "peers")
    add(
        "--environments",
        type=Path,
        default=default,
        help=f"the peers' environments, made where missing (${ENVIRONMENTS})",
    )
    return parser.parse_args()


@contextlib.contextmanager
def workplace(wanted: Path | None):  # noqa: ANN201 - a context manager of a path
    if wanted:
        wanted.mkdir(parents=True, exist_ok=True)
        yield wanted.resolve()
        return
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="augsuite-bench-", dir=memory if memory.is_dir() else None) as made:
        yield Path(made)


def main() -> None:
    options = parse()
    options.environments.mkdir(parents=True, exist_ok=True)
    with workplace(options.work) as work:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
        bench = Bench(work, options.environments.resolve(), options.limit, memory)
        facts = machine.facts(work)
        results = compare(bench, options)
        found = {
            "machine": facts | {"load_after": os.getloadavg()},
            "command": ["python", *sys.argv],
            "versions": machine.versions()
            | {
                name: peers.version(bench.environments, peers.KNOWN[name])
                for name in options.peers
                if peers.python_of(bench.environments, name).exists()
            },
            "results": [
                asdict(result) | {what: result.median(what) for what in ("cpu_s", "wall_s", "peak_mb")}
                for result in results
            ],
            "workers": [] if options.no_extras else workers(bench, options),
            "stream": [] if options.no_extras else stream(bench, options),
        }
    found["goals"] = report.goals(found, options.images)
    report.show(found, sys.stderr if options.json == "-" else sys.stdout)
    if options.json == "-":
        print(json.dumps(found, indent=2))
    elif options.json:
        Path(options.json).write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
