from .colours import ends_of as ends_of, shares_of as shares_of, viridis as viridis
from .data_frame import (
    documents_table as documents_table,
    trials_table as trials_table,
    write_table as write_table,
)
from .front_chart import pareto_front as pareto_front
from .plane_chart import plane as plane, plane_place as plane_place, plane_svg as plane_svg
from .proof_sections import also_section as also_section
from .report import (
    in_words as in_words,
    next_step as next_step,
    write_report as write_report,
)
from .scene import (
    FLAT as FLAT,
    Array as Array,
    Scene as Scene,
    failed_of as failed_of,
    scene_of as scene_of,
)
from .section import markdown_of as markdown_of, table as table
