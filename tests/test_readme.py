"""Which commands of the README and the docs are not run as they are written."""

from __future__ import annotations

import re

from readme import blocks, pages

TAGS = {"setup-run", "setup-test", "needs-weights", "long", "no-run"}


def test_tags_are_known() -> None:
    for block in blocks():
        assert block.tags <= TAGS, block


def test_every_block_of_commands_is_seen() -> None:
    """A fence of another name for the same language would never be run."""
    for page in pages():
        found = re.findall(r"^```(bash|shell|console|zsh|py|python3)\b", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert found == [], page


def test_the_two_commands() -> None:
    for tag in ("setup-run", "setup-test"):
        (block,) = [b for b in blocks() if tag in b.tags]
        assert block.page == "README.md"


def test_list_of_the_tagged_blocks() -> None:
    """A block that is not run as it stands must be listed here, so that none escapes by a tag."""
    tagged = [
        (b.page, tag, b.text.splitlines()[0]) for b in blocks() for tag in sorted(b.tags) if not tag.startswith("setup")
    ]
    assert tagged == [
        ("docs/clip-score.md", "no-run", "pip install 'ganeval[clip]'"),
        ("docs/clip-score.md", "no-run", "ganeval clip-score hf:saved/generated:test --caption-column prompt"),
        ("docs/clip-score.md", "no-run", "ganeval clip-score model-a/ --captions prompts.csv -o a.json"),
        (
            "docs/compact.md",
            "long",
            "python scripts/train_compact.py --data cifar10-train.zip --test cifar10-test.zip -o compact-v1",
        ),
        ("docs/data.md", "no-run", "ganeval eval hf:saved/cats:test generated/ --label-column breed"),
        (
            "docs/data.md",
            "no-run",
            "ganeval sample gen:my_package.model:pipeline --prompts prompts.txt -o images/",
        ),
        ("docs/data.md", "no-run", "ganeval eval s3://bucket/reals/ 's3://bucket/fakes-{000..009}.tar'"),
        ("docs/index.md", "no-run", "python3 -m venv .venv && . .venv/bin/activate"),
        ("docs/index.md", "needs-weights", "ganeval fid start-real start-fake.zip --num-real 8 --num-fake 8"),
        ("docs/index.md", "needs-weights", "ganeval sample dataset:shapes@1 -n 16 -o few"),
        ("docs/install.md", "no-run", "python3 -m venv .venv && . .venv/bin/activate"),
        ("docs/install.md", "no-run", "uvx --from . ganeval demo"),
        ("docs/install.md", "no-run", "ganeval weights export weights.tar     # on a machine that has the weights"),
        ("docs/install.md", "no-run", "docker build -t ganeval ."),
        ("docs/intervals.md", "no-run", "ganeval eval real/ fake/ --group-by '(film\\d+)_'"),
        ("docs/lite.md", "no-run", "pip install 'ganeval[imagenet]'"),
        ("docs/lite.md", "no-run", "ganeval paired targets/ outputs/ --distance lite"),
        (
            "docs/paired.md",
            "no-run",
            'ganeval paired images/ images/ --pair-by-real "(.+)_real_B" --pair-by-fake "(.+)_fake_B"',
        ),
        ("docs/paired.md", "no-run", 'ganeval paired targets/ outputs/ --prepare-real "resize:256:bicubic"'),
        ("docs/paired.md", "no-run", 'ganeval paired targets/ samples/ --pair-by-fake "(.+)_[0-9]+"'),
        (
            "docs/paired.md",
            "no-run",
            'ganeval diversity samples/ --group-by "(.+)_[0-9]+"                          # all pairs of outputs',
        ),
        (
            "docs/protocols.md",
            "long",
            "ganeval eval stats:adm-imagenet-256 samples.npz --protocol adm --metrics is,fid,sfid,precision,recall",
        ),
        (
            "docs/protocols.md",
            "needs-weights",
            "ganeval stats build dataset:shapes@1 --num-samples 6 --protocol adm --table -o table.npz",
        ),
        (
            "docs/protocols.md",
            "needs-weights",
            "ganeval eval VIRTUAL.npz samples.npz --protocol adm --assume-protocol "
            "--metrics is,fid,sfid,precision,recall",
        ),
        ("docs/protocols.md", "long", "ganeval fid stats:edm-cifar10-32 samples/ --num-fake 50000"),
        ("docs/protocols.md", "long", "ganeval stats build ffhq-1024x1024.zip --protocol stylegan --table -o ffhq.npz"),
        (
            "docs/protocols.md",
            "long",
            "ganeval fid stats:coco-val2014 samples/ --protocol text2image-benchmark --num-fake 30000",
        ),
        ("docs/protocols.md", "long", "ganeval fid dataset:cifar10:train samples/ --download"),
        (
            "docs/protocols.md",
            "no-run",
            "ganeval fid medical:scans/ generated/ --value-range -160,240 --protocol compact",
        ),
        ("docs/scores.md", "no-run", "ganeval scores hps.csv --id prompt --higher-is-better hps -o hps.json"),
        ("docs/scores.md", "no-run", "ganeval scores a.csv --id prompt --higher-is-better hps -o a.json"),
    ]
