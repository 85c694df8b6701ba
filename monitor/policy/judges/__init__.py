"""Questions that rules put to a judge, a model that is asked about one subcall. Pure: nothing here calls a model.

``question`` is what a rule asks, ``fence`` how the record is shown to the judge, ``answers`` what its reply is worth, and
``needed`` which questions a condition still depends on.
"""
