"""A picture that says which it is, and a publisher of such pictures."""

import threading
from collections.abc import AsyncIterator, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from semcast.media.publisher import VideoPublisher


class Scene:
    """Smooth coloured pictures whose pattern moves with their number k.

    `picture(k)` is uint8 [height, width, 3]; `best_match_db` finds the number again.
    """

    width, height, fps = 192, 128, 20

    def __init__(self) -> None:
        self._drawn: dict[int, NDArray[np.uint8]] = {}

    def picture(self, k: int) -> NDArray[np.uint8]:
        if k not in self._drawn:
            self._drawn[k] = self._draw(k)
        return self._drawn[k].copy()

    def _draw(self, k: int) -> NDArray[np.uint8]:
        y, x = np.mgrid[: self.height, : self.width]
        red = 128 + 60 * np.sin((x + 7 * k) / 17)
        green = 128 + 60 * np.cos((y - 5 * k) / 13)
        blue = 128 + 40 * np.sin((x + y + 3 * k) / 23)
        return np.stack([red, green, blue], axis=-1).astype(np.uint8)

    def psnr_db(self, rgb: NDArray[np.uint8], k: int) -> float:
        error = np.mean((rgb.astype(np.float64) - self.picture(k)) ** 2)
        return float(10 * np.log10(255**2 / max(error, 1e-9)))

    def best_match_db(self, rgb: NDArray[np.uint8], num_pictures: int) -> tuple[float, int]:
        """PSNR and number of the picture that `rgb` is most like."""
        return max((self.psnr_db(rgb, k), k) for k in range(num_pictures))


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
async def publisher(scene: Scene) -> AsyncIterator[VideoPublisher]:
    publisher = VideoPublisher(width=scene.width, height=scene.height, fps=scene.fps)
    yield publisher
    await publisher.close()


@pytest.fixture
def source(scene: Scene, publisher: VideoPublisher) -> Iterator[None]:
    """Pushes picture k = 0, 1, ... from a thread at the nominal rate, as the model worker does."""
    stop = threading.Event()

    def run() -> None:
        k = 0
        while not stop.wait(1 / scene.fps):
            publisher.push(scene.picture(k), k * 1_000_000 // scene.fps)
            k += 1

    thread = threading.Thread(target=run)
    thread.start()
    yield
    stop.set()
    thread.join()
