"""What a lesson's run has found, in sentences."""

from collections.abc import Mapping

from IPython.display import Markdown


def findings(sentences: Mapping[str, bool]) -> Markdown:
    """Return sentences that say what was found, for a notebook; one that does not hold here is marked so.

    Args:
        sentences: whether each holds here.

    Returns:
        A list, with Markdown and formulas in its sentences.

    Example:
        >>> print(findings({"Depth 40 is worse than depth 5.": True, "Depth 40 is at chance.": False}).data)
        - **Found:** Depth 40 is worse than depth 5.
        - **Not found here:** Depth 40 is at chance.
    """
    said = {True: "Found", False: "Not found here"}
    return Markdown("\n".join(f"- **{said[bool(holds)]}:** {text}" for text, holds in sentences.items()))
