"""Lesson 9's segmentation: scenes of garments with a label for each pixel, master and slave, mean IoU, maps of labels.

`msnet` itself stands among the models, whose table of the family has it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor, nn

from van_tutorial._checks import check_count, check_seed
from van_tutorial.data import Images
from van_tutorial.data.images import standardize
from van_tutorial.models import MSNet, MSNetConfig, msnet
from van_tutorial.plots import finish
from van_tutorial.training.evaluation import answers

__all__ = ["MSNet", "MSNetConfig", "label_maps", "mean_iou", "msnet", "scenes"]

CUT = 0.04  # of the way from black to white: above the speckle around a garment, below all but its darkest print
# Paul Tol's muted colours behind a light grey for label 0; more labels begin again, and each region has its number.
LABEL_COLORS = (
    "#E8E8E8", "#CC6677", "#332288", "#DDCC77", "#117733", "#88CCEE", "#882255", "#44AA99", "#999933", "#AA4499",
    "#6699CC",
)  # fmt: skip
SMALLEST_REGION = 0.005  # fraction of the pixels from which on a label's number is written


def scenes(
    images: Images,
    num_train: int = 2000,
    num_test: int = 500,
    size: int = 48,
    num_objects: int = 3,
    seed: int = 0,
) -> Images:
    """Compose scenes for semantic segmentation out of the garments of a data set.

    In each scene `num_objects` images lie at random positions, later ones in front of earlier ones, each cut out
    where it is brighter than the background. Training scenes are made of training images only, and test scenes
    of test images only. With the same seed, the first scenes of many are those of few.

    Args:
        images: of one channel on a black background, such as Fashion-MNIST's.
        num_train: number of training scenes, at least 1.
        num_test: number of test scenes, at least 1.
        size: height and width of a scene in pixels, at least those of an image.
        num_objects: images in a scene, at least 1; one may hide another.
        seed: of the choice of images and positions, at least 0.

    Returns:
        Scenes of shape (N, 1, size, size), normalized, with labels of shape (N, size, size): 0 is the
        background, and k + 1 stands for class k of `images`.

    Raises:
        ValueError: where a number is too small, or the images have several channels or are scenes themselves.
    """
    sizes, label_sizes = tuple(images.train_images.shape[1:]), tuple(images.train_labels.shape[1:])
    if sizes[0] != 1 or label_sizes:
        expected = "images with one channel and one label each, such as 'fashion-mnist'"
        came = f"{images.name!r} with images of shape {sizes} and labels of shape {label_sizes}"
        raise ValueError(f"scenes are made of {expected}, got {came}.")
    check_count("num_train", num_train)
    check_count("num_test", num_test)
    check_count("size", size, minimum=max(sizes[1:]))
    check_count("num_objects", num_objects)
    check_seed(seed)
    black, white = images.train_images.aminmax()
    parts = []
    for garments, labels, num_scenes, own_seed in (
        (images.train_images, images.train_labels, num_train, 2 * seed),
        (images.test_images, images.test_labels, num_test, 2 * seed + 1),
    ):
        generator = torch.Generator().manual_seed(own_seed)
        draws = torch.rand((num_scenes, num_objects, 3), dtype=torch.float64, generator=generator)
        parts.append(compose_scenes(garments[:, 0], labels, draws.to(labels.device), size, black, white))
    (train_images, train_labels), (test_images, test_labels) = parts
    standardize(train_images, test_images)
    return replace(
        images,
        name=f"scenes of {images.name}",
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        class_names=("background", *images.class_names),
    )


def compose_scenes(
    garments: Tensor, labels: Tensor, draws: Tensor, size: int, black: Tensor, white: Tensor
) -> tuple[Tensor, Tensor]:
    """Return scenes and their maps of labels.

    Args:
        garments: shape (K, H, W).
        labels: shape (K,).
        draws: shape (N, num_objects, 3), in [0, 1): which garment, how far down, how far across.
        size: height and width of a scene.
        black: value of the background.
        white: value of the brightest pixel.

    Returns:
        Scenes of shape (N, 1, size, size), and labels of shape (N, size, size).
    """
    num_scenes, num_objects, _ = draws.shape
    _, height, width = garments.shape
    choices = draws.new_tensor([len(garments), size - height + 1, size - width + 1])
    which, tops, lefts = (draws * choices).long().unbind(dim=2)
    canvas = black.repeat(num_scenes, size, size)
    maps = labels.new_zeros(num_scenes, size, size)
    scene = torch.arange(num_scenes, device=labels.device)[:, None, None]
    for turn in range(num_objects):
        rows = tops[:, turn, None, None] + torch.arange(height, device=labels.device)[:, None]
        columns = lefts[:, turn, None, None] + torch.arange(width, device=labels.device)
        at = scene, rows, columns
        garment = garments[which[:, turn]]
        is_garment = garment > black + CUT * (white - black)
        canvas[at] = torch.where(is_garment, garment, canvas[at])
        maps[at] = torch.where(is_garment, labels[which[:, turn], None, None] + 1, maps[at])
    return canvas[:, None], maps


def mean_iou(model: nn.Module, images: Tensor, labels: Tensor, num_classes: int) -> float:
    """Return the mean over the classes of intersection over union, in eval mode.

    With P_k the pixels, of all images together, that the network gives class k, and Q_k those that are of class k:

        mean IoU = mean over k of |P_k and Q_k| / |P_k or Q_k|

    A class that is neither given nor there has no union, and is left out of the mean.

    Args:
        model: maps images (N, C, H, W) to logits (N, num_classes, H, W).
        images: shape (N, C, H, W), on the network's device.
        labels: shape (N, H, W), int64, from 0 to num_classes - 1.
        num_classes: number of classes K, at least 1.

    Returns:
        The mean, in [0, 1].

    Raises:
        ValueError: for no class.

    Example:
        >>> labels = torch.tensor([[[0, 0], [1, 1]]])  # one image of two by two pixels
        >>> given = torch.tensor([[[0, 1], [1, 1]]])  # class 0: 1 of 2 pixels; class 1: 2 of 3
        >>> images = torch.nn.functional.one_hot(given, num_classes=3).movedim(-1, 1).float()
        >>> round(mean_iou(nn.Identity(), images, labels, num_classes=3), 4)  # (1 / 2 + 2 / 3) / 2
        0.5833

    Source:
        Everingham et al. 2010, The PASCAL visual object classes (VOC) challenge.
    """
    check_count("num_classes", num_classes)
    both, given, there = torch.zeros(3, num_classes, device=images.device, dtype=torch.int64)
    for logits, targets in answers(model, images, labels):
        chosen = logits.argmax(dim=1)
        for counts, classes in ((both, targets[chosen == targets]), (given, chosen), (there, targets)):
            counts += classes.flatten().bincount(minlength=num_classes)[:num_classes]
    union = given + there - both
    return (both / union)[union > 0].mean().item()


def label_maps(
    scene: np.ndarray,
    maps: Mapping[str, np.ndarray],
    class_names: Sequence[str],
    caption: str = "The numbers are those of the legend.",
) -> go.Figure:
    """Draw a scene, and beside it maps of labels.

    A label's number stands on its pixels, so that nobody has to tell colours apart.

    Args:
        scene: shape (H, W), any range: the smallest value is drawn black, the largest white.
        maps: by their titles, labels from 0 on, shape (H, W) each.
        class_names: of the labels; label 0 is the background, and gets no number.
        caption: one line under the title.

    Returns:
        A figure with a panel for the scene and one for each map, and a legend of the labels that there are.
    """
    titles = ("scene", *maps)
    fig = make_subplots(rows=1, cols=len(titles), subplot_titles=titles, horizontal_spacing=0.02)
    fig.add_heatmap(z=np.asarray(scene, dtype=float), colorscale="Gray", showscale=False, row=1, col=1)
    for column, labels in enumerate(map(np.asarray, maps.values()), 2):
        fig.add_heatmap(
            z=labels.astype(float),
            zmin=-0.5,
            zmax=len(class_names) - 0.5,
            colorscale=stairs(len(class_names)),
            showscale=False,
            customdata=np.asarray(class_names, dtype=object)[labels],
            hovertemplate="row %{y}, column %{x}<br>%{customdata}<extra></extra>",
            row=1,
            col=column,
        )
        write_numbers(fig, labels, column)
    for label in sorted({int(label) for labels in maps.values() for label in np.unique(labels)}):
        marker = {"symbol": "square", "size": 13, "color": label_color(label), "line_width": 1}
        name = f"{label} {class_names[label]}" if label else class_names[label]
        fig.add_scatter(x=[None], y=[None], mode="markers", name=name, marker=marker, row=1, col=1)
    fig = finish(fig, "Labels of pixels", caption, "column (pixels)", "")
    fig.update_xaxes(constrain="domain", showgrid=False, zeroline=False)
    fig.update_yaxes(
        autorange="reversed", constrain="domain", showgrid=False, zeroline=False, showticklabels=False
    )
    for column in range(1, len(titles) + 1):
        fig.update_yaxes(scaleanchor=f"x{column}" if column > 1 else "x", row=1, col=column)
    fig.update_yaxes(title="row (pixels)", showticklabels=True, row=1, col=1)
    legend = {"orientation": "h", "y": -0.25, "yanchor": "top", "x": 0.5, "xanchor": "center"}
    return fig.update_layout(height=420, margin={"t": 110, "b": 120}, legend=legend)


def label_color(label: int) -> str:
    """Return the colour of a label; those beyond the last begin again behind the background."""
    return LABEL_COLORS[0 if label == 0 else 1 + (label - 1) % (len(LABEL_COLORS) - 1)]


def stairs(num_labels: int) -> list[tuple[float, str]]:
    """Return a colour scale with a step for each label."""
    ends = [(label / num_labels, (label + 1) / num_labels) for label in range(num_labels)]
    return [(end, label_color(label)) for label, pair in enumerate(ends) for end in pair]


def write_numbers(fig: go.Figure, labels: np.ndarray, column: int) -> None:
    """Write each label's number on the pixel of it that is nearest to their middle."""
    for label in np.unique(labels):
        rows, columns = np.nonzero(labels == label)
        if label == 0 or len(rows) < SMALLEST_REGION * labels.size:
            continue
        nearest = np.argmin((rows - np.median(rows)) ** 2 + (columns - np.median(columns)) ** 2)
        fig.add_annotation(
            x=columns[nearest],
            y=rows[nearest],
            text=str(label),
            showarrow=False,
            font={"size": 12, "color": "#000000"},
            bgcolor="rgba(255, 255, 255, 0.8)",
            borderpad=1,
            row=1,
            col=column,
        )
