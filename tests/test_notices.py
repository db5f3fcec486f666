"""What a run tells its user: each notice logged as it comes, equal ones summed up at the end."""

import logging
from concurrent.futures import ThreadPoolExecutor

from vldm_core.notices import Notice, Notices


def test_a_notice_names_stage_and_frame():
    assert str(Notice(stage="flicker", text="left", frame=7)) == "flicker, frame 7: left"
    assert str(Notice(stage="flicker", text="left")) == "flicker: left"


def test_equal_notices_are_summed_up_in_the_order_of_the_first():
    notices = Notices()
    for frame in (3, 9, 4, 5, 4):
        notices.add("dirt repair", "left as it came", frame=frame)
    notices.add("film", "is telecined")
    notices.add("film", "is telecined")
    notices.add("dirt repair", "something else", frame=12)
    assert notices.summary() == (
        "dirt repair, 4 frames (3–5, 9): left as it came",
        "film: is telecined",
        "dirt repair, frame 12: something else",
    )
    assert len(notices) == 8
    assert [notice.frame for notice in notices][:3] == [3, 9, 4]


def test_a_long_list_of_frames_is_cut():
    notices = Notices()
    for frame in range(0, 100, 2):
        notices.add("flicker", "left", frame=frame)
    assert notices.summary() == ("flicker, 50 frames (0, 2, 4, 6, 8, 10 and others): left",)


def test_each_is_logged_once_and_thousands_do_not_flood_the_log(caplog):
    notices = Notices()
    with caplog.at_level(logging.WARNING, logger="vldm_core.notices"):
        notices.add("flicker", "left", frame=7)
    assert caplog.messages == ["flicker, frame 7: left"]
    with caplog.at_level(logging.WARNING, logger="vldm_core.notices"):
        for frame in range(1000):
            notices.add("flicker", "left", frame=frame)
    assert len(caplog.messages) == 6
    assert "summed up" in caplog.messages[-1]


def test_threads_may_add_at_the_same_time():
    notices = Notices()
    with ThreadPoolExecutor(8) as workers:
        list(workers.map(lambda frame: notices.add("dirt repair", "left", frame=frame), range(500)))
    assert notices.summary() == ("dirt repair, 500 frames (0–499): left",)
