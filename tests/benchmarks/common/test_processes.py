"""Processes of their own measure, answer and fail with their reason."""

import os
import sys

import pytest

from benchmarks.common.conversation import warm_process
from benchmarks.common.own_process import answer_of, peak_memory_mb, timed
from vldm_core.errors import VLDMError

ECHO = """
import json, sys
for line in sys.stdin:
    question = json.loads(line)
    if question.get("stop"):
        sys.exit("that was enough")
    print(json.dumps(question | {"heard": True}), flush=True)
"""


def test_a_warm_process_answers_one_question_after_the_other_and_ends_with_its_reason():
    command = [sys.executable, "-c", ECHO]
    with warm_process(command, what="the echo", environment=os.environ) as process:
        assert process.ask({"a": "é"}) == {"a": "é", "heard": True}
        assert process.ask({"a": 2})["a"] == 2
        with pytest.raises(VLDMError, match=r"the echo ended with code 1 instead of answering:\nthat was enough"):
            process.ask({"stop": True})
        with pytest.raises(VLDMError, match="the echo ended"):
            process.ask({"a": 3})


def test_a_module_that_fails_says_why():
    with pytest.raises(
        VLDMError, match=r"(?s)measuring nothing ended with code 1:.*No module named benchmarks\.nothing"
    ):
        answer_of("benchmarks.nothing", what="nothing")


def test_what_is_timed_runs_once_before():
    runs = []
    cost = timed(runs.append, 9, loaded=1.0)
    assert runs == [4, 9] and cost.frames == 9 and cost.loaded_mb == 1.0
    assert cost.seconds_per_frame >= 0 and (cost.peak_mb is None or cost.peak_mb > 20)
    assert peak_memory_mb() == pytest.approx(cost.peak_mb, rel=0.1)
