"""What a lesson's run has found, in sentences."""

from collections.abc import Mapping

from IPython.display import Markdown


def findings(sentences: Mapping[str, bool]) -> Markdown:
    """Return sentences that say what was found, for a notebook; one that does not hold here is marked so.

    Args:
        sentences: whether each holds here.

    Returns:
        A list, with Markdown and formulas in its sentences; folded, since it tells a result that is to be predicted,
        but open where a sentence does not hold.

    Example:
        >>> print(findings({"Depth 40 is worse than depth 5.": True, "Depth 40 is at chance.": False}).data)
        <details open><summary>What was found</summary>
        <BLANKLINE>
        - **Found:** Depth 40 is worse than depth 5.
        - **Not found here:** Depth 40 is at chance.
        <BLANKLINE>
        </details>
    """
    said = {True: "Found", False: "Not found here"}
    items = "\n".join(f"- **{said[bool(holds)]}:** {text}" for text, holds in sentences.items())
    state = "" if all(sentences.values()) else " open"
    return Markdown(f"<details{state}><summary>What was found</summary>\n\n{items}\n\n</details>")
