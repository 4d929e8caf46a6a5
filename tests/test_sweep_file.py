"""Sweep files: which runs they stand for, and what is refused in one sentence before anything runs."""

import itertools
import re
import textwrap
import tracemalloc

import nbformat
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from van_tutorial._course import course_path
from van_tutorial.batch.parameters import NotebookError
from van_tutorial.batch.sweep import tasks_of
from van_tutorial.batch.sweep_file import SECTIONS, SweepError, find_notebook, read_sweep

PARAMETERS = 'depth: int = 3\nlr: float = 0.5\nname: str = "x"\nfast: bool = True'
DEFAULTS = {"depth": 3, "lr": 0.5, "name": "x", "fast": True, "seed": 0}


@pytest.fixture
def write(tmp_path):
    """A function that writes a file, by default the sweep file, beside lesson.ipynb."""
    write_notebook(tmp_path / "lesson.ipynb", f"{PARAMETERS}\nseed: int = 0")

    def write(text, name="sweep.yaml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    return write


def write_notebook(path, parameters):
    cell = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernel}), path)


def refusal(path):
    with pytest.raises(SweepError) as refused:
        read_sweep(path)
    message = str(refused.value)
    assert path.name in message
    assert "\n" not in message
    return message


def test_runs_come_case_by_case_then_along_the_grid_with_the_seeds_fastest(write):
    sweep = read_sweep(
        write("""
            notebook: lesson.ipynb
            fixed: {name: "y", lr: 0.1}
            grid: {depth: [20, 40], fast: [true, false]}
            list:
              - {}
              - {lr: 1}
            seeds: 2
        """)
    )
    varied = [tuple(run[name] for name in ("lr", "depth", "fast", "seed")) for run in sweep.runs]
    assert varied == list(itertools.product([0.1, 1.0], [20, 40], [True, False], [0, 1]))
    assert sweep.num_runs == 16
    assert {run["name"] for run in sweep.runs} == {"y"}
    assert sweep.name == "sweep"
    assert sweep.notebook.samefile(sweep.path.parent / "lesson.ipynb")


def test_each_run_has_every_parameter_in_the_declared_type_and_order(write):
    (run,) = read_sweep(write("notebook: lesson.ipynb\nfixed: {lr: 2, depth: 5.0}")).runs
    assert list(run.items()) == list((DEFAULTS | {"lr": 2.0, "depth": 5}).items())
    assert type(run["lr"]) is float
    assert type(run["depth"]) is int


def test_a_step_size_without_a_dot_which_yaml_takes_for_a_text_is_a_number(write):
    sweep = read_sweep(write("notebook: lesson.ipynb\ngrid: {lr: [1e-3, 0.01]}"))
    assert [run["lr"] for run in sweep.runs] == [0.001, 0.01]


def test_more_than_10000_runs_are_refused_without_being_listed(write):
    hundred = list(range(1, 101))
    grid = f"{{depth: {hundred}, lr: {hundred}, name: [a, b]}}"
    tracemalloc.start()
    assert "these are 2,000,000 runs, more than 10,000" in refusal(
        write(f"notebook: lesson.ipynb\nseeds: 100\ngrid: {grid}")
    )
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
    sweep = read_sweep(write(f"notebook: lesson.ipynb\ngrid: {{depth: {hundred}, lr: {hundred}}}"))
    assert sweep.num_runs == 10_000
    assert sweep.runs[0] == DEFAULTS | {"depth": 1, "lr": 1.0}
    assert sweep.varying == ["depth", "lr"]


def test_a_lesson_is_named_without_its_path_and_a_file_beside_the_sweep_file_goes_first(write, tmp_path):
    lesson = course_path("notebooks", "05_phasing_out.ipynb")
    assert read_sweep(write("notebook: 05_phasing_out")).notebook == lesson
    assert find_notebook("05_phasing_out.ipynb", tmp_path) == lesson
    write_notebook(tmp_path / "05_phasing_out.ipynb", PARAMETERS)
    assert find_notebook("05_phasing_out.ipynb", tmp_path) == tmp_path / "05_phasing_out.ipynb"
    with pytest.raises(NotebookError, match=r"Did you mean '07_dirac'\?"):
        find_notebook("07_dirak")


def test_a_path_is_relative_to_the_file_it_stands_in(write):
    path = write("notebook: ../lesson.ipynb\ngrid: {depth: [1, 2]}", "common/base.yaml")
    assert [run["depth"] for run in read_sweep(path).runs] == [1, 2]


def test_a_case_may_override_what_is_fixed(write):
    text = "notebook: lesson.ipynb\nfixed: {depth: 7}\nlist: [{}, {depth: 9}]"
    assert [run["depth"] for run in read_sweep(write(text)).runs] == [7, 9]


def test_a_mapping_used_again_in_yaml_is_no_key_given_twice(write):
    text = """
        notebook: lesson.ipynb
        list:
          - &base {depth: 7, lr: 1}
          - &next {<<: *base, lr: 2}
          - {<<: *next, lr: 3}
    """
    assert [(run["depth"], run["lr"]) for run in read_sweep(write(text)).runs] == [(7, 1), (7, 2), (7, 3)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[notebook]", "must be a mapping such as .* got a list"),
        ("", "must be a mapping such as .* got nothing"),
        ("grids: {}", "'grids'. Did you mean 'grid'"),
        ("true: 1", "a key of the file must be one of .* got True"),
        ("fixed: {depth: 1}", "one of the keys notebook and train is needed"),
        ("notebook: [lesson.ipynb]", "notebook must be the name of a lesson .* got a list"),
        ("notebook: lessen.ipynb", r"no notebook 'lessen.ipynb' .*Did you mean 'lesson\.ipynb'"),
        ("notebook: there/lesson.ipynb", r"no notebook .*there/lesson\.ipynb"),
        ("notebook: 05_phasing_oot", "no lesson of that name, .* Did you mean '05_phasing_out'"),
        ("include: common.yaml", "a key of the file must be one of .* got 'include'"),
        ('notebook: "\\ud800"', "notebook must be the name of a lesson .* got '.ud800'"),
    ],
)
def test_what_a_file_says_beside_its_parameters_is_checked(write, text, message):
    assert re.search(message, refusal(write(text)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fixed: [depth]", "fixed must be a mapping of names to values, got a list"),
        (
            "fixed: {depth: [1, 2]}",
            r"fixed\['depth'\] must be a number, a string .*, true, false or null, got a list",
        ),
        ("fixed: {name: 2024-01-01}", r"fixed\['name'\] must be a number, .*2024"),
        ("fixed: {depth: }", "fixed: Parameter 'depth' must be of type int .* got None"),
        ("grid: [depth]", "grid must be a mapping of names to lists of values, got a list"),
        ("grid: {depth: 40}", r"grid\['depth'\] must be a list of values .* got 40"),
        ("grid: {depth: [[40]]}", r"grid\['depth'\]\[0\] must be a number, .* got a list"),
        ("grid: {}", "grid is empty"),
        ("grid: {depth: []}", r"grid\['depth'\] is empty"),
        ("grid: {depth: [4, 5, '4']}", "runs 1 and 3 are the same, depth=4: remove one"),
        ("list: {depth: 1}", "list must be a list of cases, .* got a mapping"),
        ("list: [depth]", r"list\[0\] must be a mapping of names to values, got 'depth'"),
        ("list: []", "list is empty"),
        ("list: [{depth: 4}, {depth: [4]}]", r"list\[1\]\['depth'\] must be a number"),
        ("list: [{lr: 1}, {}, {depth: 3}]", "runs 2 and 3 are the same"),
        (
            "fixed: {name: '\\ud83d'}".replace("'", '"'),
            r"fixed\['name'\] must be a number, a string of whole characters",
        ),
        (
            "grid: {depth: [1, 0x" + "f" * 5000 + "]}",
            "Exceeds the limit",
        ),
        ("list: &a [*a]", r"list\[0\] must be a mapping"),
        ("seeds: []", "seeds is empty"),
        ("seeds: 0", "seeds must be their number, from 1 to 10000, or a list of them, got 0"),
        ("seeds: true", "seeds must be their number.* got True"),
        ("seeds: 1.5", "seeds must be their number.* got 1.5"),
        ("seeds: 99999999999999999999", "seeds must be their number, from 1 to 10000"),
        ("seeds: [0, -1]", r"seeds\[1\] must be an integer of at least 0 .* got -1"),
        ("seeds: [0, 1.5]", r"seeds\[1\] must be an integer of at least 0 .* got 1.5"),
        ("seeds: [3, 4, 3]", "runs 1 and 3 are the same"),
        ("seeds: 2\nfixed: {seed: 3}", "'seed' is given by fixed and by seeds"),
        ("seeds: 2\ngrid: {seed: [3]}", "'seed' is given by grid and by seeds"),
        ("seeds: 2\nlist: [{depth: 1}, {seed: 3}]", "'seed' is given by list and by seeds"),
        ("grid: {depth: [1]}\nfixed: {depth: 1}", "'depth' is given by fixed and by grid"),
        ("grid: {depth: [1]}\nlist: [{depth: 1}]", "'depth' is given by list and by grid"),
        ("fixed: {dept: 1}", "fixed: .*no parameter 'dept'.*Did you mean 'depth'"),
        ("grid: {dept: [1]}", "grid: .*no parameter 'dept'.*Did you mean 'depth'"),
        ("list: [{}, {dept: 1}]", r"list\[1\]: .*no parameter 'dept'.*Did you mean 'depth'"),
        ("fixed: {1: 1}", "fixed: .*no parameter 1"),
        ("fixed: {fast: 3}", "fixed: .*'fast' must be of type bool"),
        ("grid: {depth: [1, 1.5]}", "grid: .*'depth' must be of type int .* got 1.5"),
        ("grid: {depth: [.inf]}", "grid: .*inf"),
        ("list: [{name: no}]", r"list\[0\]: .*'name' must be of type str .* got False"),
    ],
)
def test_a_section_that_does_not_fit_the_notebook_is_refused_and_named(write, text, message):
    assert re.search(message, refusal(write(f"notebook: lesson.ipynb\n{text}")))


def test_seeds_for_a_notebook_without_a_seed_are_refused(write, tmp_path):
    write_notebook(tmp_path / "plain.ipynb", PARAMETERS)
    assert "no parameter 'seed'" in refusal(write("notebook: plain.ipynb\nseeds: 3"))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("sweep.yaml", "notebook: a\nfixed: {depth: 1\nlist: x", "YAML, line 3"),
        ("sweep.yml", "fixed:\n  lr: 1\n  depth: 1\n  lr: 2", "YAML, line 4: the key 'lr' stands twice"),
        ("sweep.yaml", "fixed: !!python/name:os.system", "YAML, line 1: could not determine"),
        ("sweep.yaml", "fixed: {name: 2024-99-01}", "not readable as YAML: month"),
        ("sweep.yaml", "a: 1\n---\nb: 2", "YAML, line 2"),
        ("sweep.yaml", "name: \0", "not readable as YAML"),
        ("sweep.yaml", "a: !!bool maybe", "not readable as YAML"),
        ("sweep.yaml", "a: !!int ''", "not readable as YAML"),
        ("sweep.yaml", "a: !!timestamp x", "not readable as YAML"),
        ("sweep.yaml", "[" * 20_000, "not readable as YAML"),
        ("sweep.yaml", "{? [a] : b}", "YAML, line 1: found unhashable key"),
        ("sweep.toml", "[fixed]\nlr = 1\n", "the ending must be one of '.yaml', '.yml', got '.toml'"),
    ],
)
def test_a_file_that_cannot_be_read_as_what_it_ends_in_is_refused_with_its_line(write, name, text, message):
    assert re.search(message, refusal(write(text, name)))


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_bytes(b"notebook: \xff")
    assert "not readable as YAML" in refusal(path)


def test_a_sweep_file_that_is_not_there_is_refused(tmp_path):
    assert "There is no sweep file" in refusal(tmp_path / "sweep.yaml")
    (tmp_path / "sweep.yaml").mkdir()
    assert "There is no sweep file" in refusal(tmp_path / "sweep.yaml")


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.dates(), st.binary(max_size=4),
    st.sampled_from(["depth", "lr", "seed", "lesson.ipynb", "mlp", "van", "he", 2**64, "fashion-mnist-mini"]),
)  # fmt: skip
NAMES = st.one_of(
    SCALARS, st.sampled_from(["depth", "lr", "name", "fast", "seed", "connection", "dual_lr", "data"])
)
KEYS = st.one_of(SCALARS, st.sampled_from(list(SECTIONS)), st.sampled_from(list(SECTIONS)))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=6,
)
FILES = st.one_of(
    st.dictionaries(KEYS, VALUES, max_size=4).map(yaml.safe_dump),
    st.tuples(
        st.sampled_from(["notebook: lesson.ipynb", "train: mlp", "train: convnet"]),
        st.fixed_dictionaries(
            {},
            optional={
                "fixed": st.dictionaries(NAMES, SCALARS, max_size=3),
                "grid": st.dictionaries(NAMES, st.lists(SCALARS, max_size=3), max_size=2),
                "list": st.lists(st.dictionaries(NAMES, SCALARS, max_size=2), max_size=3),
                "seeds": st.one_of(st.integers(), st.lists(SCALARS, max_size=3)),
            },
        ),
    ).map(lambda parts: f"{parts[0]}\n{yaml.safe_dump(parts[1]) if parts[1] else ''}"),
    st.text(alphabet="abn: {}[]-&*!|>'\"?,#%@\n<=\\x0eu1", max_size=40),
)


@given(text=FILES)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_a_sweep_file_is_understood_or_refused_in_one_sentence(write, text):
    path = write("x")
    path.write_bytes(text.encode(errors="surrogatepass"))
    try:
        sweep = read_sweep(path)
        for task in itertools.islice(tasks_of(sweep), 3):
            assert re.fullmatch("[0-9a-f]{16}", task.key)
    except SweepError as error:
        assert "\n" not in str(error)
        str(error).encode()
        assert len(str(error)) < 1500
