"""Random crops and flips, compared with one image after the other."""

import pytest
import torch

from van_tutorial import data


def seeded_generator(seed=0):
    return torch.Generator().manual_seed(seed)


def one_by_one(images, generator, padding):
    """The same draws, and each image cut out of a larger one by plain slicing."""
    num_images, channels, height, width = images.shape
    offsets = torch.randint(2 * padding + 1, (2, num_images), generator=generator).tolist()
    flips = torch.randint(2, (num_images,), generator=generator).tolist()
    results = []
    for image, top, left, is_flipped in zip(images, *offsets, flips, strict=True):
        padded = torch.zeros(channels, height + 2 * padding, width + 2 * padding, dtype=images.dtype)
        padded[:, padding : padding + height, padding : padding + width] = image
        crop = padded[:, top : top + height, left : left + width]
        results.append(crop.flip(2) if is_flipped else crop)
    return torch.stack(results)


@pytest.mark.parametrize("padding", [0, 1, 4])
@pytest.mark.parametrize("shape", [(64, 3, 32, 32), (9, 1, 28, 28), (5, 2, 6, 11)])
def test_a_batch_is_augmented_as_its_images_one_by_one(shape, padding):
    images = torch.randn(shape, generator=seeded_generator(1))
    expected = one_by_one(images, seeded_generator(), padding)
    assert torch.equal(data.augment(images, seeded_generator(), padding), expected)


def test_every_shift_and_both_orientations_come_up():
    image = torch.arange(1.0, 10.0).reshape(1, 1, 3, 3)
    results = data.augment(image.expand(2000, 1, 3, 3), seeded_generator(), padding=1)
    assert len({tuple(result.flatten().tolist()) for result in results}) == 3 * 3 * 2


def test_half_of_the_images_are_flipped():
    images = torch.tensor([1.0, 2.0]).expand(4000, 1, 1, 2)
    flipped = data.augment(images, seeded_generator(), padding=0)[:, 0, 0, 0] == 2
    assert flipped.float().mean().item() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.uint8])
def test_pixels_keep_their_type(dtype):
    images = torch.arange(2 * 3 * 8 * 8).remainder(200).reshape(2, 3, 8, 8).to(dtype)
    result = data.augment(images, seeded_generator())
    assert result.dtype == dtype
    assert torch.equal(result, one_by_one(images, seeded_generator(), 4))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_pixels_keep_their_order_in_memory(memory_format, channels):
    images = torch.empty((6, channels, 8, 8), memory_format=memory_format).copy_(
        torch.randn(6, channels, 8, 8)
    )
    result = data.augment(images, seeded_generator())
    assert result.stride() == images.stride()
    assert torch.equal(result, one_by_one(images, seeded_generator(), 4))


def test_images_given_are_left_as_they_are():
    images = torch.randn(4, 3, 8, 8)
    before = images.clone()
    data.augment(images, seeded_generator(), padding=0).zero_()
    assert torch.equal(images, before)


def test_the_same_seed_gives_the_same_images_and_the_next_batch_others():
    images = torch.randn(32, 3, 8, 8)
    generator = seeded_generator()
    first, second = data.augment(images, generator), data.augment(images, generator)
    assert torch.equal(first, data.augment(images, seeded_generator()))
    assert not torch.equal(first, second)


def test_global_random_numbers_are_not_touched():
    before = torch.get_rng_state()
    data.augment(torch.randn(4, 3, 8, 8, generator=seeded_generator()), seeded_generator())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same_images_as_the_cpu():
    images = torch.randn(64, 3, 32, 32)
    result = data.augment(images.cuda(), seeded_generator())
    assert result.is_cuda
    assert torch.equal(result.cpu(), data.augment(images, seeded_generator()))


def test_an_image_without_its_batch_and_a_negative_padding_are_refused():
    with pytest.raises(ValueError, match=r"must have the shape \(N, C, H, W\), got \(3, 32, 32\)"):
        data.augment(torch.zeros(3, 32, 32), seeded_generator())
    with pytest.raises(ValueError, match="padding must be an integer of at least 0, got -1"):
        data.augment(torch.zeros(1, 3, 32, 32), seeded_generator(), padding=-1)
