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

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from augsuite.augment import Batch, Feed
from augsuite.augment.feed import Size
from augsuite.augment.loading import normalized_on
from augsuite.errors import ConfigError, DataError, PluginError
from augsuite.protocols import RunRecord
from augsuite.training import machine, processes
from augsuite.training.averaging import Average
from augsuite.training.batchnorm import Presence, synchronised
from augsuite.training.checkpoint import CHECKPOINT, Keeper, identity_of, restore_random
from augsuite.training.clock import Clock
from augsuite.training.guard import Guard
from augsuite.training.progress import Progress
from augsuite.training.ramp import RangeTest, range_epochs, write_curve
from augsuite.training.saving import save_model
from augsuite.training.schedule import Schedule
from augsuite.training.settings import Settings
from augsuite.training.shares import interleaved, share_of, stripped
from augsuite.training.stepping import Stepper
from augsuite.training.stopping import Best
from augsuite.training.telling import Log, Teller

T = TypeVar("T")
Number = TypeVar("Number", int, float, Tensor)


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
        together: images of the current batch, over all processes.
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
        self._epoch_steps = -(-len(train) // (config.batch_size * config.accumulate))
        self._ranging = RangeTest() if config.schedule == "range" else None
        self.epochs_asked = range_epochs(self._epoch_steps) if self._ranging else epochs or config.epochs
        self.reverted = False
        if config.patience and not config.evaluate_every:
            raise ConfigError(f"{name}: patience counts evaluations, and there is one only. Set evaluate_every.")
        self._train, self._val = train, val
        self._teller = Teller(log, self.epochs_asked, speaks=self.main)
        self._presence = Presence()
        self._guard = Guard(name, folder, train, self.rank, config.lr)
        self._take_up(Progress(lr=config.lr))
        self._average: Average | None = None
        self._best = Best(config.patience, metric)
        self._saved: dict[str, Any] | None = None
        self._phase, self._end = -1, 0
        self.together = self._batches = 0
        identity = identity_of(config, train, name=name, seed=seed, epochs=self.epochs_asked)
        self._keeper = Keeper(folder / CHECKPOINT, identity, config.checkpoint_s)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Seed, join the other processes, set threads and determinism; all of it is put back at the end."""
        with ExitStack() as stack:
            stack.enter_context(machine.prepared(self.config, self.device))
            processes.join(self.device)
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
        self.network = machine.placed(network, config, self.device)
        if config.ema and self._average is None:
            self._average = Average(self.network, config.ema)
        schedule = Schedule(config, self._epoch_steps, max(1, self._end - begin) * self._epoch_steps)
        self._stepper = Stepper(self.network, groups, config, schedule, self._average)
        if self._phase == 0:
            self._resume()
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
        if done.stopped or done.epoch >= self.epochs_asked:
            self.reverted = self._best.restore(self.trained, done)

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
        shares = [share_of(whole, self.rank, self.world) for whole in left]
        for at, batch in enumerate(self._clock.over(self._train.load(shares))):
            self.together = len(left[at])
            self._presence.counts = self.rank < self.together
            if isinstance(self.model, DistributedDataParallel):
                self.model.require_backward_grad_sync = self._ends_step()
            yield batch if self._presence.counts else stripped(batch)
            if done.stopped:
                return

    def images(self, batch: Batch) -> Tensor:
        """`(B, 3, H, W)` float32 on the device, normalised; the bytes travel there as they are."""
        images = normalized_on(self.device, batch.images, self._train.mean, self._train.std)
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
        done, counts, ends = self._done, self._presence.counts, self._ends_step()
        value = (loss.detach() if counts else torch.zeros_like(loss)).float().view(1)
        if self.world > 1:
            value = processes.add_up(value)
        if self._ranging is not None and ends:
            done.stopped = self._ranging.take(self._stepper.rate(done.step), float(value))
            if done.stopped:
                return
        # DistributedDataParallel averages over the processes, and this adds up.
        self._stepper.add(loss, float(self.world if counts else 0), self.together if weight is None else weight)
        norm = None
        if ends:
            done.lr, norm = self._stepper.take(done.step)
            done.step += 1
        if self._ranging is not None:
            done.loss_sum += float(value) * self.together
        else:
            values = value if norm is None else torch.cat([value, norm.view(1).float()])
            done.loss_sum += self._guard.watch(values, batch, done.epoch, done.batch, self.together)
        done.batch += 1
        done.images += self.together
        self._clock.tick()
        loss_now = done.loss_sum / (done.batch * self.config.batch_size)
        self._teller.pulse(done, done.batch / self._batches, loss_now, self._clock.speed())
        if ends and self._ranging is None and self._keeper.due(done.batch):
            self._checkpoint()

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
        return interleaved(processes.of_all(list(parts)))

    def tell(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """End an epoch: log its loss, learning rate and metrics, and judge whether to stop.

        `images_per_s` and `wait_frac` (share of the training's time that it waited for a batch) are logged, too; they alone differ from
        run to run.

        Args:
            epoch: from 0.
            metrics: of the evaluation; those of process 0 hold for all, and any are left out where `evaluates(epoch)` is not.
        """
        done = self._done
        done.loss_sum += self._guard.settle()
        metrics = processes.from_main(dict(metrics) if self.evaluates(epoch) else {})
        values = {"loss": done.loss_sum / len(self._train), "lr": done.lr, **metrics, **self._clock.speed()}
        done.history.append({"epoch": epoch + 1, "values": values})
        self._teller.epoch(epoch + 1, values)
        self._best.take(metrics, self.trained, done)
        done.epoch, done.batch, done.loss_sum = epoch + 1, 0, 0.0
        if self._ranging is not None and done.stopped and self.main:
            write_curve(self.folder, self._ranging.curve())
        # Not after the last: whoever goes on from there would have no evaluation to write down.
        if not done.stopped and done.epoch < self.epochs_asked and self._ranging is None and self._keeper.due(0):
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

    def _checkpoint(self) -> None:
        self._done.loss_sum += self._guard.settle()
        state = {
            "done": asdict(self._done),
            "feed_cpu_seconds": self._train.cpu_seconds,
            "network": self.network.state_dict(),
            "stepper": self._stepper.state_dict(),
            "average": None if self._average is None else self._average.state_dict(),
            "best": self._best.weights,
        }
        self._keeper.write(state, self.device)

    def _resume(self) -> None:
        """Look for a checkpoint of this run; take in weights and curves where there is one."""
        self._saved = saved = self._keeper.find(self.network.state_dict(), self._teller.say)
        if saved is None:
            self._seed_apart()
            return
        self._take_up(Progress(**saved["done"]))
        self._train.cpu_seconds = saved["feed_cpu_seconds"]
        self.network.load_state_dict(saved["network"])
        if self._average is not None:
            self._average.load_state_dict(saved["average"])
        self._best.load(saved["best"], self.device)
        self._teller.say(f"{self.name}: going on from epoch {self._done.epoch + 1}, batch {self._done.batch + 1}.")
        self._teller.history(self._done)

    def _restore(self, saved: Mapping[str, Any]) -> None:
        """Take in what belongs to the phase in which the checkpoint was written."""
        try:
            self._stepper.load_state_dict(saved["stepper"])
        except (ValueError, KeyError) as error:
            raise DataError(f"{self.folder / CHECKPOINT}: is of another optimizer. Delete it to start anew.") from error
        if not restore_random(saved["random"], self.device):
            self._seed_apart()

    def _take_up(self, done: Progress) -> None:
        self._done, self._clock = done, Clock(done)

    # Small parts

    def _seed_apart(self) -> None:
        """Draws after the initial weights, such as those of dropout, differ between processes."""
        if self.rank:
            torch.manual_seed(self.seed + 1_000_003 * self.rank)

    def _ends_step(self) -> bool:
        """Whether the optimizer steps after the current batch."""
        batch = self._done.batch + 1
        return batch % self.config.accumulate == 0 or batch == self._batches
