"""Everything around a training loop that is the same for every trainer, so that the loop itself stays in plain sight.

with Loop(config, train, val, name="mine", seed=seed, folder=folder, log=log) as loop:
    network = Network(...)                                 # weights depend on the seed alone
    loop.prepare(network, groups)
    for epoch in loop.epochs():
        loop.model.train()
        for batch in loop.batches(epoch, (width, height)):
            with loop.autocast():
                outputs = loop.model(loop.images(batch))
            count = loop.total(...)                        # over all processes
            loss = loss_of(outputs, ...).sum() / count
            loop.step(loss, batch)
        if loop.evaluates(epoch):
            found, metrics = evaluate(loop.trained, loop)
        loop.tell(epoch, metrics)
    if loop.reverted:                                      # early stopping went back to better weights
        found, metrics = evaluate(loop.trained, loop)
    loop.save()
    return loop.record(metrics)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from augsuite.augment import Batch, Feed
from augsuite.augment.feed import Size
from augsuite.augment.loading import WaitTimer
from augsuite.errors import ConfigError, DataError, PluginError
from augsuite.protocols import RunRecord, TakesPulse
from augsuite.training import machine, processes
from augsuite.training.averaging import Average
from augsuite.training.batchnorm import Presence, synchronised
from augsuite.training.checkpoint import CHECKPOINT, find_checkpoint, random_state, set_random_state, write_checkpoint
from augsuite.training.guard import Guard
from augsuite.training.progress import Progress
from augsuite.training.ramp import RangeTest, write_curve
from augsuite.training.saving import save_model
from augsuite.training.schedule import RANGE_STEPS, Schedule
from augsuite.training.settings import Settings

T = TypeVar("T")
Number = TypeVar("Number", int, float, Tensor)
Log = Callable[[int, int, Mapping[str, float]], None]

_PULSE_S = 0.25


class Loop:
    """One training, on one device or as one of several processes.

    With several processes each gets its share of every batch, and gradients are added up. A loss is the sum over a process's own images
    divided by a count over all of them (`total`), so that any number of processes computes the same step.

    Attributes:
        config: the settings.
        device: where the network is.
        rank: which process this is; 0 where there is one.
        world: how many there are.
        main: whether this is the one that writes.
        epochs_asked: epochs in all.
        model: what a step calls: the network, compiled or wrapped for several processes where that was asked for.
        network: the plain network that is trained.
        reverted: whether `trained` are earlier weights than those evaluated last; known after `epochs`.
    """

    model: nn.Module
    network: nn.Module

    def __init__(
        self,
        config: Settings,
        train: Feed,
        val: Feed,
        *,
        name: str,
        seed: int,
        folder: Path,
        log: Log,
        metric: str = "",
        epochs: int | None = None,
    ) -> None:
        """Check what can be checked before anything is made.

        Args:
            config: the settings.
            train: what to train on.
            val: what to evaluate on.
            name: the trainer's, for messages and `model.pt`.
            seed: of everything that torch draws within this context.
            folder: the run's own.
            log: called after each epoch, with what `augsuite.protocols.Train` says.
            metric: what early stopping watches, higher is better; the first metric told where nothing is said.
            epochs: in all, where it is not `config.epochs`.

        Raises:
            ConfigError: for settings that do not suit this machine or each other.
        """
        self.config, self.name, self.seed, self.folder = config, name, seed, folder
        self.rank, self.world = processes.rank(), processes.world()
        self.main = self.rank == 0
        self.device = machine.pick_device(config, name)
        self.epochs_asked = epochs or config.epochs
        self.reverted = False
        if config.patience and not config.evaluate_every:
            raise ConfigError(f"{name}: patience counts evaluations, and there is one only. Set evaluate_every.")
        self._train, self._val, self._log, self._metric = train, val, log, metric
        self._ranging = RangeTest() if config.schedule == "range" else None
        self._presence = Presence()
        self._guard = Guard(name, folder, train, self.rank, config.lr)
        self._timer = WaitTimer()
        self._done = Progress()
        self._average: Average | None = None
        self._best: dict[str, Tensor] = {}
        self._saved: dict[str, Any] | None = None
        self._phase, self._end = -1, 0
        self._window = (
            0.0,
            0.0,
        )  # weight of the first batch of an accumulated step, and of all so far as multiples of it
        self._together = self._batches = 0
        self._lr = config.lr
        self._mark = (0.0, 0.0)
        self._began = (0, 0.0, 0.0)  # images, seconds, waited when this process began with the epoch
        self._written = self._pulsed = time.monotonic()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Seed, join the other processes, set threads and determinism; all of it is put back at the end."""
        with ExitStack() as stack:
            stack.enter_context(machine.prepared(self.config, self.device))
            stack.enter_context(processes.joined(self.device))
            stack.enter_context(torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []))
            torch.manual_seed(self.seed)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    # Before training

    def prepare(self, network: nn.Module, groups: Sequence[dict[str, Any]], epochs: int | None = None) -> None:
        """Make everything that a step needs, and go on from the checkpoint of the run where there is one.

        A training in phases (frozen, then unfrozen) calls this before each, and then `epochs()`, each time with the same network; optimizer
        and schedule begin anew, and phases that a checkpoint has behind it give no epochs.

        Args:
            network: on the CPU, with the weights to begin with. It is moved, not copied.
            groups: parameter groups with `params`, `weight_decay`, and `lr` where it is not that of the settings.
            epochs: of this phase; the rest of those asked for where nothing is said.

        Raises:
            DataError: if a checkpoint is of another optimizer, which only another version of the trainer can make it.
        """
        config = self.config
        self._phase += 1
        begin, self._end = self._end, self.epochs_asked if epochs is None else self._end + epochs
        if config.sync_batch_norm and self.world > 1:
            network = synchronised(network, self._presence)
        layout = torch.channels_last if config.channels_last else torch.contiguous_format
        self.network = network.to(self.device).to(memory_format=layout)
        if config.ema and self._average is None:
            self._average = Average(self.network, config.ema)
        self._optimizer = machine.make_optimizer(groups, config)
        self._rates = [float(group["lr"]) for group in self._optimizer.param_groups]
        self._parameters = [part for group in self._optimizer.param_groups for part in group["params"]]
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=config.precision == "fp16")
        epoch_steps = -(-len(self._train) // (config.batch_size * config.accumulate))
        self._schedule = Schedule(config, epoch_steps, max(1, self._end - begin) * epoch_steps)
        if self._phase == 0:
            self._find()
            if self.rank and self._saved is None:
                self._seed_apart()
        if self._saved is not None and self._saved["done"]["phase"] == self._phase:
            self._restore(self._saved)
            self._saved = None
        elif self._done.phase < self._phase:
            self._done.phase, self._done.step = self._phase, 0
        self.model = machine.wrapped(self.network, config, self.device, self.world)

    # The loop

    def epochs(self) -> Iterator[int]:
        """The epochs of this phase that are left, counted from 0 over all phases; `tell` ends each."""
        done = self._done
        while not done.stopped and (done.epoch < self._end or self._ranging is not None):
            epoch = done.epoch
            yield epoch
            if done.epoch == epoch:
                raise PluginError(f"{self.name}: epoch {epoch + 1} ended without tell().")
        if self._best and done.stale and (done.stopped or done.epoch >= self.epochs_asked):
            self.trained.load_state_dict(self._best)
            self.reverted = True

    def batches(self, epoch: int, size: Size) -> Iterator[Batch]:
        """This process's share of each batch of an epoch that is left.

        A batch may have fewer images than there are processes. Then some of them borrow its first image, without its annotations;
        neither their loss nor what they add to a `total` counts.

        Args:
            epoch: from 0.
            size: width and height, where the settings name no `input_sizes`.
        """
        config, done = self.config, self._done
        sizes = [(side, side) for side in config.input_sizes] or size
        keys = self._train.keys(epoch, config.batch_size, sizes)
        self._batches = len(keys)
        left = keys[done.batch :]
        shares = [own[self.rank :: self.world] or own[:1] for own in left]
        self._mark = (time.perf_counter(), time.process_time())
        self._began = (done.images, done.seconds, done.wait_seconds)
        self._timer = WaitTimer()
        for at, batch in enumerate(self._timer(self._train.load(shares))):
            self._together = len(left[at])
            self._presence.counts = self.rank < self._together
            if isinstance(self.model, DistributedDataParallel):
                self.model.require_backward_grad_sync = self._ends_step()
            yield batch if self._presence.counts else _stripped(batch)
            if done.stopped:
                return
        self._tick()

    def images(self, batch: Batch) -> Tensor:
        """`(B, 3, H, W)` float32 on the device, normalised; the bytes travel there as they are."""
        pixels = torch.from_numpy(batch.images)
        if self.device.type == "cuda":
            pixels = pixels.pin_memory()
        images = pixels.to(self.device, non_blocking=True).permute(0, 3, 1, 2).float()
        mean, std = (
            torch.tensor(values, device=self.device).view(3, 1, 1) * 255
            for values in (self._train.mean, self._train.std)
        )
        images = images.sub_(mean).div_(std)
        return images if self.config.channels_last else images.contiguous()

    def autocast(self) -> AbstractContextManager[Any]:
        """Within, the network computes in the precision of the settings."""
        precision = self.config.precision
        return torch.autocast(self.device.type, machine.PRECISIONS[precision], enabled=precision != "fp32")

    def total(self, number: Number) -> Number | Tensor:
        """The sum of a number over all processes: itself where there is one, else a tensor on the device. Carries no gradient."""
        if self.world == 1:
            return number
        value = torch.as_tensor(number, device=self.device).detach()
        return processes.add_up(value if self._presence.counts else torch.zeros_like(value))

    def step(self, loss: Tensor, batch: Batch, weight: float | Tensor | None = None) -> None:
        """Learn from one batch: gradient, and the optimizer's step where enough batches were accumulated.

        Args:
            loss: scalar; the sum over this process's images, divided by a count over all processes' images.
            batch: what it was computed on.
            weight: that count, which the batches of an accumulated step are averaged with; their images where nothing is said.

        Raises:
            ConfigError: if the loss or the gradient is not a number; the batch is kept in the run's folder.
        """
        config, done = self.config, self._done
        ends = self._ends_step()
        scale = float(self.world) if self._presence.counts else 0.0  # DistributedDataParallel averages, this adds up
        value = (loss.detach() if self._presence.counts else torch.zeros_like(loss)).float().view(1)
        if self.world > 1:
            value = processes.add_up(value)
        if config.accumulate > 1:
            own = float(self._together if weight is None else weight)
            first, total = self._window
            first = first or own or 1.0
            self._window = (first, total + own / first)
            scale *= own / first
        if self._ranging is not None:
            lr = config.lr * self._schedule.factor(done.step)
            if ends and (self._ranging.take(lr, float(value)) or len(self._ranging.lr) >= RANGE_STEPS):
                done.stopped = True
                return
        elif self.device.type == "cpu":  # before any weight changes
            done.loss_sum += self._guard.watch(value, batch, done.epoch, done.batch, self._together)
        self._scaler.scale(loss if scale == 1 else loss * scale).backward()  # type: ignore[no-untyped-call]  # PyTorch's own gap
        norm = self._update() if ends else None
        if self._ranging is None and (self.device.type != "cpu" or norm is not None):
            values = value if norm is None else torch.cat([value, norm.view(1).float()])
            known = self._guard.watch(values, batch, done.epoch, done.batch, self._together)
            done.loss_sum += known if self.device.type != "cpu" else 0.0
        done.batch += 1
        done.images += self._together
        self._tick()
        self._pulse()
        if ends and self._due():
            self._checkpoint()

    def _update(self) -> Tensor | None:
        """One step of the optimizer; the norm of its gradient, but for fp16, whose scaler expects some to be infinite."""
        config, done = self.config, self._done
        self._scaler.unscale_(self._optimizer)
        gradients = [part.grad for part in self._parameters if part.grad is not None]
        if config.accumulate > 1:
            torch._foreach_div_(gradients, self._window[1])
            self._window = (0.0, 0.0)
        if config.clip_norm:
            norm = torch.nn.utils.clip_grad_norm_(self._parameters, config.clip_norm)
        else:
            norm = torch.nn.utils.get_total_norm(gradients)
        factor, momentum = self._schedule.factor(done.step), self._schedule.momentum(done.step)
        self._lr = machine.set_rates(self._optimizer, self._rates, factor, momentum)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        if self._average is not None:
            self._average.update(self.network)
        done.step += 1
        return None if config.precision == "fp16" or self._ranging is not None else norm

    def evaluates(self, epoch: int) -> bool:
        """Whether to evaluate after this epoch."""
        every = self.config.evaluate_every
        due = epoch + 1 == self.epochs_asked or (every > 0 and (epoch + 1) % every == 0)
        return due and self._ranging is None

    @property
    def trained(self) -> nn.Module:
        """The plain network whose weights count: the average of the weights where there is one."""
        return self.network if self._average is None else self._average.network

    def validation(self, batch_size: int, size: Size) -> Iterator[Batch]:
        """This process's batches of the images to evaluate on, each whole, in order; `gather` brings together what they gave."""
        keys = self._val.keys(0, batch_size, size, shuffle=False)
        yield from self._val.load(keys[self.rank :: self.world])

    def gather(self, parts: Sequence[T]) -> list[T]:
        """What was made of each batch of `validation`, of all processes, in the order of the batches; plain values or arrays."""
        return processes.interleaved(processes.of_all(list(parts)))

    def tell(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """End an epoch: log its loss, learning rate and metrics, and judge whether to stop.

        `images_per_s` and `wait_frac` (share of the training's time that it waited for a batch) are logged, too; they alone differ from
        run to run.

        Args:
            epoch: from 0.
            metrics: of the evaluation, if there was one; those of process 0 hold for all.
        """
        done = self._done
        done.loss_sum += self._guard.settle()
        metrics = processes.from_main(dict(metrics))
        values = {"loss": done.loss_sum / len(self._train), "lr": self._lr, **metrics, **self._speed()}
        done.history.append({"epoch": epoch + 1, "values": values})
        if self.main:
            self._log(epoch + 1, self.epochs_asked, values)
        if metrics and self.config.patience:
            value = metrics[self._metric or next(iter(metrics))]
            done.stale += 1
            if done.best is None or value > done.best:
                done.best, done.stale = value, 0
                self._best = {name: part.detach().clone() for name, part in self.trained.state_dict().items()}
            done.stopped = done.stopped or done.stale >= self.config.patience
        done.epoch, done.batch, done.loss_sum = epoch + 1, 0, 0.0
        if self._ranging is not None and done.stopped and self.main:
            write_curve(self.folder, self._ranging.curve())
        # Not after the last: whoever goes on from there would have no evaluation to write down.
        if not done.stopped and done.epoch < self.epochs_asked and self._due():
            self._checkpoint()

    # After training

    def save(self) -> None:
        """Leave `model.pt` in the run's folder."""
        if self.main:
            save_model(self.folder / "model.pt", self.name, self.config, self.trained, self._train)

    def record(self, metrics: Mapping[str, float]) -> RunRecord:
        """What the run found."""
        done = self._done
        return RunRecord(
            metrics=dict(metrics),
            images=done.images,
            seconds=done.seconds,
            cpu_seconds=done.cpu_seconds,
            parameters=sum(part.numel() for part in self.network.parameters() if part.requires_grad),
            wait_seconds=done.wait_seconds,
            epochs=done.epoch,
            peak_bytes=machine.peak_bytes(self.device),
        )

    # Checkpoints

    def _identity(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to be one of this run."""
        return {
            "name": self.name,
            "seed": self.seed,
            "config": msgspec.to_builtins(self.config),
            "epochs": self.epochs_asked,
            "images": len(self._train),
            "categories": self._train.data.categories.names.tolist(),
        }

    def _due(self) -> bool:
        """Whether it is time for a checkpoint; several processes ask the first, and not at every step, which would cost."""
        every = self.config.checkpoint_s
        due = self._ranging is None and time.monotonic() - self._written >= every
        if self.world == 1 or not every:
            return due
        return processes.from_main(due) if self._done.batch % 16 == 0 else False

    def _checkpoint(self) -> None:
        self._done.loss_sum += self._guard.settle()
        states = processes.of_all(random_state(self.device))
        if self.main:
            state = {
                "identity": self._identity(),
                "done": asdict(self._done),
                "feed_cpu_seconds": self._train.cpu_seconds,
                "network": self.network.state_dict(),
                "optimizer": self._optimizer.state_dict(),
                "scaler": self._scaler.state_dict(),
                "average": None if self._average is None else self._average.state_dict(),
                "best": self._best,
                "random": states,
            }
            self.folder.mkdir(parents=True, exist_ok=True)
            write_checkpoint(self.folder / CHECKPOINT, state)
        self._written = time.monotonic()

    def _find(self) -> None:
        """Look for a checkpoint of this run; take in weights and curves where there is one."""
        path = self.folder / CHECKPOINT
        saved = None
        if self.main and self._ranging is None:
            try:
                saved = find_checkpoint(path, self._identity(), self.network.state_dict())
            except DataError as error:
                self._say(f"{error} Starting from the beginning.")
        self._saved = saved = processes.from_main(saved)
        if saved is None:
            return
        self._done = Progress(**saved["done"])
        self._train.cpu_seconds = saved["feed_cpu_seconds"]
        self.network.load_state_dict(saved["network"])
        if self._average is not None:
            self._average.load_state_dict(saved["average"])
        self._best = {name: part.to(self.device) for name, part in saved["best"].items()}
        self._say(f"{self.name}: going on from epoch {self._done.epoch + 1}, batch {self._done.batch + 1} ({path}).")
        if self.main:
            for entry in self._done.history:
                self._log(entry["epoch"], self.epochs_asked, entry["values"])

    def _restore(self, saved: Mapping[str, Any]) -> None:
        """Take in what belongs to the phase in which the checkpoint was written."""
        try:
            self._optimizer.load_state_dict(saved["optimizer"])
        except (ValueError, KeyError) as error:
            raise DataError(f"{self.folder / CHECKPOINT}: is of another optimizer. Delete it to start anew.") from error
        self._scaler.load_state_dict(saved["scaler"])
        states = saved["random"]
        if self.rank < len(states):
            set_random_state(states[self.rank], self.device)
        else:
            self._seed_apart()

    # Small parts

    def _seed_apart(self) -> None:
        """Draws after the initial weights, such as those of dropout, differ between processes."""
        torch.manual_seed(self.seed + 1_000_003 * self.rank)

    def _ends_step(self) -> bool:
        """Whether the optimizer steps after the current batch."""
        batch = self._done.batch + 1
        return batch % self.config.accumulate == 0 or batch == self._batches

    def _tick(self) -> None:
        """Add the time since the last look at the clocks."""
        wall, cpu = time.perf_counter(), time.process_time()
        self._done.seconds += wall - self._mark[0]
        self._done.cpu_seconds += cpu - self._mark[1]
        self._done.wait_seconds += self._timer.waited_s
        self._mark, self._timer.waited_s = (wall, cpu), 0.0

    def _speed(self) -> dict[str, float]:
        """Of the epoch so far, or of what was done of it since the run went on; nothing where that is nothing."""
        images, seconds, waited = self._began
        passed = self._done.seconds - seconds
        if passed <= 0 or self._done.images == images:
            return {}
        return {
            "images_per_s": (self._done.images - images) / passed,
            "wait_frac": min(1.0, (self._done.wait_seconds - waited) / passed),
        }

    def _pulse(self) -> None:
        if self.main and isinstance(self._log, TakesPulse) and time.monotonic() - self._pulsed > _PULSE_S:
            self._pulsed = time.monotonic()
            done = self._done
            values = {"loss": done.loss_sum / (done.batch * self.config.batch_size), "lr": self._lr, **self._speed()}
            self._log.pulse(done.epoch + 1, self.epochs_asked, done.batch / self._batches, values)

    def _say(self, line: str) -> None:
        if self.main and isinstance(self._log, TakesPulse):
            self._log.say(line)


def _stripped(batch: Batch) -> Batch:
    """A batch without its annotations."""
    return replace(
        batch,
        boxes=[boxes[:0] for boxes in batch.boxes],
        labels=[labels[:0] for labels in batch.labels],
        weights=[weights[:0] for weights in batch.weights],
        targets=batch.targets * 0,
    )
