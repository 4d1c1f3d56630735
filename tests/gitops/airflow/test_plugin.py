from importlib.metadata import entry_points

from airflow.serialization.decoders import decode_deadline_reference
from airflow.serialization.encoders import encode_deadline_reference

from gitops.airflow.deadline import FirstQueued
from gitops.airflow.plugin import DeadlinePlugin


def test_airflow_finds_it_wherever_the_project_is_installed() -> None:
    [found] = [point for point in entry_points(group="airflow.plugins") if point.name == "visage_deadlines"]
    assert found.load() is DeadlinePlugin


def test_airflow_reads_the_deadline_of_a_dag_again() -> None:
    read = decode_deadline_reference(encode_deadline_reference(FirstQueued()))
    assert read.inner_ref == FirstQueued()
    assert read.reference_name != "DagRunQueuedAtDeadline", "Airflow would count it anew, and fail"
