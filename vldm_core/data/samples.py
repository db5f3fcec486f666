"""Samples by number: the order in which they come, whoever makes them and wherever it was interrupted."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

from torch.utils.data import IterableDataset, get_worker_info

from ..errors import SettingsError

Sample = TypeVar("Sample")


class NumberedSamples(IterableDataset[Sample], ABC, Generic[Sample]):
    """A data set whose sample i is a function of the seed and i alone.

    Samples come in blocks of `batch`. The blocks go to the ranks in turn, and within a rank to the workers of a
    `DataLoader` in turn, so that a loader with that batch size gives the same batches in the same order for any number
    of workers, and the ranks together give the same samples as one. A training loop that is to be resumed calls
    `advance` after every batch and keeps `state_dict()`. Workers must not be persistent: they would not hear of it.

    Args:
        seed: Another seed gives other samples.
        batch: Samples in a block; the batch size of the loader.
        length: Samples in one pass over the data set, a multiple of `batch * world_size`; the next pass goes on with
            new ones once `advance` was called. None is endless.
        start: Number of the first sample.
        rank: Number of this process among those that train together.
        world_size: How many these are.

    Raises:
        SettingsError: A number is out of range.
    """

    def __init__(
        self,
        *,
        seed: int,
        batch: int = 1,
        length: int | None = None,
        start: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__()
        if batch < 1 or seed < 0:
            raise SettingsError(f"batch is {batch} and seed is {seed}; use a batch of 1 or more, a seed from 0")
        self.seed, self.batch, self.length = seed, batch, length
        self._start = start
        self.share(rank, world_size)

    @abstractmethod
    def sample(self, index: int) -> Sample:
        """Return one sample; the same whatever was asked for before."""

    def share(self, rank: int, world_size: int) -> None:
        """Leave some of the samples to other processes.

        Args:
            rank: Number of this process among those that train together.
            world_size: How many these are.

        Raises:
            SettingsError: There is no such rank, or the length or the start is not a whole number of steps of all.
        """
        if not 0 <= rank < world_size:
            raise SettingsError(f"rank is {rank} of {world_size}; ranks count from 0")
        step = self.batch * world_size
        if self.length is not None and (self.length < 1 or self.length % step):
            raise SettingsError(
                f"length is {self.length}; use a multiple of {step}, the samples of one step of all ranks"
            )
        self.rank, self.world_size = rank, world_size
        self._move_to(self._start)

    def __iter__(self) -> Iterator[Sample]:
        """Yield the samples of this rank and worker, from the start to the end of the pass."""
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info is not None else (0, 1)
        return self._samples(worker, workers, self._start)

    def _samples(self, worker: int, workers: int, start: int) -> Iterator[Sample]:
        end = None if self.length is None else (start // self.length + 1) * self.length
        block = start // self.batch + self.rank + worker * self.world_size
        while end is None or block * self.batch < end:
            for index in range(block * self.batch, (block + 1) * self.batch):
                yield self.sample(index)
            block += workers * self.world_size

    def advance(self, samples: int) -> None:
        """Count samples of all ranks as used, for `state_dict` and for the next pass.

        Args:
            samples: How many; after a step in which every rank took one batch, `batch * world_size`.

        Raises:
            SettingsError: They are not whole steps.
        """
        self._move_to(self._start + samples)

    def state_dict(self) -> dict[str, int]:
        """Return where the data set is."""
        return {"seed": self.seed, "start": self._start}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go to where a data set was.

        Raises:
            SettingsError: It had another seed.
        """
        if state["seed"] != self.seed:
            raise SettingsError(f"the state is of seed {state['seed']}, the data set has {self.seed}; use that seed")
        self._move_to(state["start"])

    def _move_to(self, start: int) -> None:
        step = self.batch * self.world_size
        if start < 0 or start % step:
            raise SettingsError(f"the start is sample {start}; use a multiple of {step}, one step of all ranks, from 0")
        self._start = start
