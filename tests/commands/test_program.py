"""tf-savae: help, options in groups, settings from files and out again, mistakes, completion."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tf_savae
from tf_savae.commands import program
from tf_savae.commands.catalogue import COMMANDS
from tf_savae.commands.config_file import read_options
from tf_savae.commands.parser import command_parser, kinds
from tf_savae.commands.written_files import FILES, ending, markdown

PROJECT = Path(__file__).resolve().parents[2]
HELP = """
import sys, time
sys.argv = ["tf-savae"]
import tf_savae_command
sys.tf_savae_lazy = True
began = time.process_time()
from tf_savae.commands.program import main
for words in (["--help"], *([name, "--help"] for name in sys.stdin.read().split())):
    try:
        main(words)
    except SystemExit as ended:
        assert not ended.code
print("loaded:", sorted({"tensorflow", "keras"} & set(sys.modules)), file=sys.stderr)
assert time.process_time() - began < 1 * 8, "all eight of them"
"""


def _main(capsys, *words):
    """(exit status or message, standard output, standard error)"""
    try:
        code = program.main(list(words))
    except SystemExit as ended:
        code = ended.code
    return code, *capsys.readouterr()


def test_help_of_all_comes_without_tensorflow():
    program = [sys.executable, "-c", HELP]
    names = " ".join(COMMANDS)
    done = subprocess.run(program, input=names, capture_output=True, text=True, cwd=PROJECT)
    assert (done.returncode, done.stderr) == (0, "loaded: []\n")
    for name in COMMANDS:
        assert f"usage: tf-savae {name} [options]" in done.stdout


def _defaults(capsys, *words):
    code, out, _ = _main(capsys, *words, "--help")
    assert not code
    text = re.sub(r"\s+", " ", out)
    return dict(re.findall(r"--(\w+) (?:N|X) [^-]*?\(default: ([^)]+)\)", text)), out


def test_help_shows_the_values_of_the_chosen_configuration(capsys, tmp_path):
    small, out = _defaults(capsys, "train-text")
    assert (small["batch_size"], small["units"], small["epochs"]) == ("32", "64", "7")
    assert "batch size (B)" in out and "\nRefinement:\n" in out and "\nTraining:\n" in out
    tiny, _ = _defaults(capsys, "train-text", "--config=tiny")
    assert (tiny["batch_size"], tiny["units"], tiny["epochs"]) == ("8", "8", "2")
    assert _defaults(capsys, "train-oracle", "--quick")[0]["units"] == "16"
    file = tmp_path / "tiny.json"
    file.write_text('{"config": "tiny"}')
    assert _defaults(capsys, "train-image", f"--config_file={file}")[0]["channels"] == "3"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_in_a_group_and_says_what_it_is(name):
    command = COMMANDS[name]
    parser = command_parser(command)
    groups = {a.dest: g.title for g in parser._action_groups for a in g._group_actions}
    for option in kinds(command):
        assert groups[option] not in ("options", "Settings"), option
    for field in dataclasses.fields(command.configuration):
        text = field.metadata["help"]
        assert len(text.split()) > 1 and "the same" not in text.split(";")[0], (field.name, text)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["trian-text"], 2, "there is no command 'trian-text'. Did you mean train-text?"),
        (["train-text", "--batchsize=3"], 2, "no option --batchsize. Did you mean batch_size?"),
        (["train-text", "--batch-size=x"], 2, "--batch_size: expected an integer, got 'x'."),
        (["train-text", "file.txt"], 2, "expected only options, got 'file.txt'."),
        (["train-text"], 1, "workdir: expected a value, got none. Give --workdir."),
        (["train-text", "--workdir={0}", "--epochs=0"], 1, "epochs: expected an integer >= 1"),
        (["train-oracle", "--seeds=0"], 1, "seeds: expected an integer >= 1, got 0."),
        (["generate", "--workdir={0}", "--path=linear"], 1, "path: requires mode="),
        (["evaluate", "--workdir={0}"], 1, "the folder of a finished run, but it does not"),
        (["evaluate", "--workdir={0}", "--config_file=a.ini"], 1, "a .json or .toml file, got a."),
        (["export", "--workdir={0}", "--output={0}"], 1, "does not exist. Use the --workdir of"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_written(words, status, message, tmp_path, capsys):
    words = [word.format(tmp_path / "run") for word in words]
    code, out, error = _main(capsys, *words)
    said = error if code == 2 else code
    assert message in said and said.startswith("tf-savae") and not out
    assert (2 if code == 2 else 1) == status and len(said.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def _resolved(capsys, *words):
    code, out, _ = _main(capsys, *words, "--print_config")
    assert not code
    return json.loads(out)


def test_settings_from_a_file_and_out_again(tmp_path, capsys):
    toml = tmp_path / "run.toml"
    toml.write_text('config = "tiny"\nsystem = "vae"\nbatch-size = 3\nlearning_rate = 2\n')
    found = _resolved(capsys, "train-text", f"--config_file={toml}", "--batch-size=5")
    assert (found["config"], found["system"], found["units"]) == ("tiny", "vae", 8)
    assert (found["batch_size"], found["learning_rate"]) == (5, 2.0)
    again = tmp_path / "again.json"
    again.write_text(json.dumps(found))
    assert _resolved(capsys, "train-text", f"--config_file={again}") == found


def test_the_settings_of_a_run_are_a_configuration_file(tmp_path, capsys):
    record = tmp_path / "run.json"
    image = COMMANDS["train-image"]
    config = image.made({"kernels": "5,3", "system": "svi"}, {"config": "tiny"})
    record.write_text(json.dumps({"configuration": config.identity(), "data": {}}))
    found = _resolved(capsys, "train-image", f"--config_file={record}", "--images=a.npz")
    assert (found["kernels"], found["system"], found["images"]) == ([5, 3], "svi", "a.npz")
    record.write_text(json.dumps({"configuration": {"units": 8, "seeds": [3, 4]}}))
    assert read_options(record, kinds(COMMANDS["train-oracle"])) == {
        "units": 8,
        "first_seed": 3,
        "seeds": 2,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"batchsize": 3}', "there is no option batchsize. Did you mean batch_size?"),
        ('{"batch_size": "3"}', "batch_size: expected an integer, got '3'."),
        ('{"batch_size": true}', "batch_size: expected an integer, got True."),
        ('{"learn_step_size": 1}', "learn_step_size: expected true or false, got 1."),
        ("[1]", r"expected options with their values, got \[1\]."),
        ("{", "to be readable, got: Expecting property name"),
    ],
)
def test_a_file_that_is_no_configuration(text, message, tmp_path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_options(tmp_path / "a.json", kinds(COMMANDS["train-text"]))


def test_the_tables_of_the_documentation_are_the_programs():
    page = (PROJECT / "docs" / "commands.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### tf-savae ([\w-]+)\n(.*?)(?=^###|\Z)", page, re.M | re.S))
    assert list(sections) == list(COMMANDS) and set(FILES) == set(COMMANDS)
    for name, section in sections.items():
        assert section.partition("\n| file")[2].strip() == markdown(name).removeprefix("| file")\
            .strip(), name  # fmt: skip
        assert f"| `{name}` |" in page and COMMANDS[name].summary in page


def test_the_ending_names_what_is_there(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "figures").mkdir()
    lines = ending("train-text", tmp_path, ["tf-savae", "evaluate"]).splitlines()
    assert [line.split()[0] for line in lines] == [
        "Files:",
        f"{tmp_path}/run.json",
        f"{tmp_path}/figures/",
        "Next:",
    ]


def test_version(capsys):
    assert _main(capsys, "--version") == (None, f"tf-savae {tf_savae.__version__}\n", "")


def test_completion(capsys, tmp_path):
    pytest.importorskip("shtab", reason="needs shtab: pip install '.[completion]'")
    code, out, _ = _main(capsys, "completion", "bash")
    assert not code and "train-text" in out and "--svi_steps" in out and "yahoo" in out
    (tmp_path / "script").write_text(out)
    subprocess.run(["bash", "-n", tmp_path / "script"], check=True)


@pytest.mark.parametrize(
    ("command", "settings", "message"),
    [
        ("train-text", {"system": "vae", "hvp": "finite_difference"}, "hvp has no effect with sys"),
        ("train-text", {"svi_schedule": "0:0,1:2", "svi_steps": 7}, "svi_steps has no effect with"),
        ("train-text", {"adjoint": "unrolled", "keep": "all"}, "keep has no effect with adjoint="),
        ("train-text", {"system": "autoregressive", "latent_size": 9}, "latent_size has no effect"),
        ("train-text", {"system": "autoregressive", "latent_size": 2}, ""),  # That of tiny.
        ("train-text", {"system": "vae", "svi_step_size": 0.1}, ""),  # Evaluation may refine.
        ("train-text", {"kl_anneal_epochs": 0.0, "kl_start": 0.5}, "kl_start has no effect with"),
        ("evaluate", {"gap_examples": 0, "gap_steps": 5}, "gap_steps has no effect with gap_exam"),
        ("evaluate", {"gap_steps": 5}, ""),
    ],
)
def test_options_without_effect_are_logged(command, settings, message, caplog):
    command = COMMANDS[command]
    own = {option.name: option.default for option in command.own}
    own |= {"config": "tiny"} if "config" in own else {}
    command.made(settings, own)
    assert message in caplog.text and bool(message) == bool(caplog.text)


def test_headings_keep_their_capitals(capsys):
    assert "SavedModel for TF Serving" in _main(capsys, "export", "--help")[1]
