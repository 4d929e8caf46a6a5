"""What the tests share: the embedded images, and short runs on a few of them; tests on a GPU need no more than this."""

import dataclasses

import pytest
import torch
from torch import nn

from van_tutorial import data, models, training


@pytest.fixture(scope="session")
def images():
    return data.load()


@pytest.fixture(scope="session")
def few_images(images):
    return dataclasses.replace(
        images,
        train_images=images.train_images[:512],
        train_labels=images.train_labels[:512],
        test_images=images.test_images[:200],
        test_labels=images.test_labels[:200],
    )


@pytest.fixture(scope="session")
def quick():
    """A function that makes the config of a short run on the CPU: 8 steps an epoch on `few_images`."""

    def make(**choices):
        return training.TrainConfig(**{"num_epochs": 2, "batch_size": 64, "device": "cpu", **choices})

    return make


@pytest.fixture(scope="session")
def phased_out(few_images, quick):
    """A run of 160 steps, all multipliers rising at once, with a record of each; leave its network as it is."""
    model = models.mlp(depth=4, width=24, seed=0)
    return training.train(
        model, few_images, quick(num_epochs=10, batch_size=32, log_every=1, stagger=0.0, dual_lr_spread=5.0)
    )


@pytest.fixture
def seeded():
    """The same global random numbers in every test that asks for it, and none of them missing afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture
def two_layers(seeded):
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 7), nn.Tanh(), nn.Linear(7, 10)).double()
