"""How the commands read their options."""

import argparse
import os
import sys

import pytest

from sb3_hyper.command_line import StoreKeywords, check_output_folder, run_command, whole_number


@pytest.mark.parametrize(("text", "number"), [("100000", 100_000), ("1e5", 100_000), ("6.5e2", 650), ("-3", -3)])
def test_whole_numbers(text, number):
    found = whole_number(text)
    assert found == number and type(found) is int


@pytest.mark.parametrize("text", ["1e-5", "1.5", "many", "inf", "nan", ""])
def test_what_is_no_whole_number(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is no whole number; 100000 and 1e5 are"):
        whole_number(text)


def test_an_output_folder_may_not_exist_but_may_not_be_a_file(tmp_path):
    check_output_folder(tmp_path)
    check_output_folder(tmp_path / "a" / "b")
    file = tmp_path / "notes.txt"
    file.touch()
    lost = tmp_path / "lost"
    lost.symlink_to(tmp_path / "nowhere")
    for folder, place in ((file, file), (file / "a" / "b", file), (lost / "a", lost)):
        with pytest.raises(ValueError, match=f"{place.name} is a file, wanted a folder"):
            check_output_folder(folder)


def test_an_output_folder_must_let_one_write(tmp_path, monkeypatch):
    # Not by the folder's mode, which does not bind root.
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(ValueError, match="nothing can be written to"):
        check_output_folder(tmp_path / "a")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("[64, 32]", [64, 32]),
        ("XL", "XL"),
        ("{'size': 'XS'}", {"size": "XS"}),
        ("dict(size='XS', encoder_kwargs=dict(n_layers=2))", {"size": "XS", "encoder_kwargs": {"n_layers": 2}}),
        ("[dict(a=1)]", [{"a": 1}]),
        ("dict(**x)", "dict(**x)"),
        ("dict([1])", "dict([1])"),
        ("open('x')", "open('x')"),
        ("a:b", "a:b"),
    ],
)
def test_values_of_keywords(text, value):
    parser = argparse.ArgumentParser()
    parser.add_argument("--env-kwargs", nargs="+", action=StoreKeywords)
    assert parser.parse_args(["--env-kwargs", f"key:{text}"]).env_kwargs == {"key": value}


def test_whoever_stops_reading_is_no_error(monkeypatch, capsys):
    read, written = os.pipe()
    os.close(read)
    parser = argparse.ArgumentParser()
    parser.add_argument("--num-threads", type=int, default=0)
    with os.fdopen(written, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert run_command(parser, lambda options: print("a line"), []) == 1
        print("what is printed later is lost")
    assert capsys.readouterr().err == ""
