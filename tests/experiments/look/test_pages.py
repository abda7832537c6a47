"""The pages on which samples are marked."""

import json
import re

from tests.experiments.look.made_up import SIZE, looked, weights


def test_sheets_hold_all_they_need(root, capsys):
    for kind, page, mark in (("arithmetic", "sheet.html", 'id="sample-6"'), ("forget", "boxes.html", 'id="canvas-6"')):
        looked(kind, root / "run", "--sheet", "--samples", 7, "--seed", 4)
        file = root / "runs" / "look" / f"{kind}-run" / page
        assert capsys.readouterr().out.strip() == str(file)
        text = file.read_text()
        assert "amples of run</title>" in text
        assert mark in text and mark.replace("6", "7") not in text and text.count("data:image/png;base64,") == 7
        assert re.findall(r'(?:src|href)="(?!data:)', text) == [] and "http:" not in text and "https:" not in text
        run = json.loads(re.search(r'id="run">(.*?)</script>', text)[1])
        assert run == {"seed": 4, "weights": weights(root), "width": SIZE, "height": SIZE}
