"""The stage prepare: prepare the data, record facts about them, and refuse data that break the contract."""

import logging

from face_attributes.common import licences
from face_attributes.common.errors import DataError
from face_attributes.common.files import write_json
from face_attributes.common.paths import CONTRACT, DATA, DATA_SHEET, LICENCES, PEOPLE, SAMPLE
from face_attributes.contract import facts, limits, sheet
from face_attributes.data.prepare import prepare
from face_attributes.params import Params

log = logging.getLogger(__name__)


def run(params: Params) -> None:
    """Run the stage. It writes the facts also where it refuses the data.

    Raises:
        DataError: the data cannot be prepared, or break the contract; the log has a line for each limit.

    """
    contract = limits.read(CONTRACT)
    choice = prepare(params.prepare, drawn=params.data.source == "synthetic")
    found = facts.measure(choice, PEOPLE, params.data.source, params.profile)
    write_json(DATA, found.to_json())
    shown = sheet.write(SAMPLE, params.data.source, licences.read(LICENCES), DATA_SHEET)
    log.info(f"prepare: facts about the data in {DATA}, {shown} images in {DATA_SHEET}")
    if contract is None:
        log.warning(f"prepare: there is no {CONTRACT}, so any data are good enough")
        return
    if unused := contract.without_attribute(found):
        log.info(f"prepare: {CONTRACT}: no limit for {', '.join(unused)}, which these data do not have")
    breaches = list(contract.breaches(found))
    for line in breaches:
        log.error(f"prepare: {CONTRACT}: {line}")
    if breaches:
        raise DataError(
            f"{CONTRACT}: the data break {len(breaches)} limit{'s' * (len(breaches) > 1)}, the first is "
            f"{breaches[0]}; correct the data, or change the limit in a pull request"
        )
