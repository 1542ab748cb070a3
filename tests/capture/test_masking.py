"""Secrets of a command line and of the environment are never told, and everyday names are."""

from __future__ import annotations

import base64
import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstream.capture.masking import arguments, masked, secret_name, variables
from headstream.capture.settings import NOTED_VARIABLES

HEX = st.text("0123456789abcdef", min_size=32, max_size=64).filter(
    lambda text: any(c.isdigit() for c in text) and any(c.isalpha() for c in text)
)


@pytest.mark.parametrize(
    "name",
    [
        "WANDB_API_KEY", "HF_TOKEN", "PGPASSWORD", "MYSQL_PWD", "SLURM_JWT", "AWS_SECRET_ACCESS_KEY",
        "authToken", "DB_PASS", "--api-key", "--password", "SSH_PRIVATE_KEY", "COOKIE",
        "GOOGLE_APPLICATION_CREDENTIALS",
    ],
)  # fmt: skip
def test_a_name_that_speaks_of_a_secret_is_known(name: str) -> None:
    assert secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "TOKENIZERS_PARALLELISM", "--tokenizer", "--max-tokens", "AUTHOR", "--keyboard", "SLURM_JOB_ID",
        "monkey", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "--passes", "--num-keypoints", "--design",
    ],
)  # fmt: skip
def test_an_everyday_name_is_no_secret(name: str) -> None:
    assert not secret_name(name)


def test_no_variable_that_is_noted_by_its_full_name_is_taken_for_a_secret() -> None:
    assert not [name for name in NOTED_VARIABLES if secret_name(name)]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("postgresql://ana:hunter2@db/x?sslmode=on", "postgresql://ana:***@db/x?sslmode=on"),
        ("https://hunter2@git.example.org/x", "https://***@git.example.org/x"),
        ("https://store/x?se=1&sig=hunter2&v=2", "https://store/x?se=1&sig=***&v=2"),
        ("Server=a;Password=hunter2;Port=1", "Server=a;Password=***;Port=1"),
        ('{"password": "hunter 2", "user": "ana"}', '{"password": ***, "user": "ana"}'),
        ("Authorization: Bearer hunter2hunter2", "Authorization: *** ***"),
        ("ghp_hunter2hunter2", "***"),
        ("-----BEGIN RSA PRIVATE KEY-----\nhunter2", "***"),
    ],
)
def test_a_secret_inside_of_a_text_is_masked_and_the_rest_stays(given: str, shown: str) -> None:
    assert masked(given) == shown


@given(
    secret=HEX,
    before=st.sampled_from(["", "/data/", "x=", "a:", "run-"]),
    after=st.sampled_from(["", "/b", ",c"]),
)
def test_hexadecimal_keys_are_masked_wherever_they_stand(secret: str, before: str, after: str) -> None:
    assert secret not in masked(f"{before}{secret}{after}")


@pytest.mark.parametrize("form", ["urlsafe", "base64", "letters and digits"])
def test_of_random_tokens_at_most_one_in_a_hundred_passes_for_a_name(form: str) -> None:
    dice = random.Random(form)
    tokens = []
    for _ in range(2000):
        match form:
            case "urlsafe":
                token = base64.urlsafe_b64encode(dice.randbytes(32)).decode().rstrip("=")
            case "base64":
                token = base64.b64encode(dice.randbytes(30)).decode()
            case _:
                token = "".join(dice.choices(string.ascii_letters + string.digits, k=24))
        tokens.append(token)
    assert sum(token in masked(token) for token in tokens) <= 20


@pytest.mark.parametrize(
    "text",
    [
        "/home/ana/miniconda3/envs/pytorch-2.1-cuda12.1-py310",
        "/scratch/project_465000123/ana/experiments/llama2-7b-finetune-v3",
        "expandable_segments:True,max_split_size_mb:128",
        "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6,MIG-8932f937-d72c-4106-c12f-20bd9faed9f6",
        "node[001-128,200-256]-ib0",
        "2026-11-23T10-20-30_run17_lr0.001",
        "20261123T155846Z-1a2b3c4d",
        "resnet50_imagenet_bs256_lr1e-4",
        "meta-llama/Meta-Llama-3-8B-Instruct",
        "MyProject_Experiment2024_Final",
        "checkpoint-1000-epoch=3-step=1000.ckpt",
        "gcc/11.2.0:openmpi/4.1.1:cuda/12.2:python/3.11.5-anaconda2023.09",
        "http://proxy.example.org:3128",
        "ssh://git@host/x",
        "--learning_rate=0.0003",
    ],
)
def test_what_people_call_their_things_is_told_as_it_is(text: str) -> None:
    assert masked(text) == text


def test_a_command_line_is_told_without_its_secrets() -> None:
    given = [
        "t.py",
        "--token",
        "hunter2",
        "--api-key=hunter2",
        "--tokenizer",
        "gpt2",
        "db://a:hunter2@h/x",
        "--pwd",
    ]
    assert arguments(given) == [
        "t.py", "--token", "***", "--api-key=***", "--tokenizer", "gpt2", "db://a:***@h/x", "--pwd"
    ]  # fmt: skip


def test_a_very_long_command_line_is_cut_and_says_so() -> None:
    shown = arguments(["t.py", *(f"file{number:06d}" for number in range(50_000))])
    assert shown[:2] == ["t.py", "file000000"] and shown[-1].endswith(" more)")
    assert sum(map(len, shown)) < 70_000


def test_variables_are_chosen_by_name_and_by_pattern_and_secrets_by_neither() -> None:
    environ = {"A": "1", "MY_B": "2", "MY_TOKEN": "3", "MINE": "4", "C": "http://u:p@h", "xAy": "5"}
    assert variables(environ, ("A", "MY_*", "C", "[x]A?")) == {
        "A": "1",
        "C": "http://u:***@h",
        "MY_B": "2",
        "xAy": "5",
    }
    assert variables(environ, ("*",)).keys() == environ.keys() - {"MY_TOKEN"}
    assert variables(environ, ()) == {}
