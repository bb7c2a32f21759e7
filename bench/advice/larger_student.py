"""The next larger shape of a student, as changes of the recipe."""

from compress.models.shape import PRESETS, StudentShape

MORE_LAYERS = 2


def describe(shape: StudentShape) -> str:
    """A shape in words."""
    return f"{shape.layers} layers x {shape.width}"


def changes(student: StudentShape, teacher: StudentShape | None, preset: object) -> tuple[str, ...]:
    """The changes that make a student wider, or deeper if it is as wide as the teacher; none if it is as large.

    A student that starts from the teacher's weights cannot be wider than it, and has as many heads. `teacher`: None if
    unknown, which allows more layers only. `preset`: the student's, if the recipe names one.
    """
    larger = _larger(student, teacher)
    if larger == student:
        return ()
    if preset is None:
        return _numbers(student, larger)
    fitting = [
        name
        for name, shape in PRESETS.items()
        if teacher is not None
        and _fits(shape, teacher)
        and (shape.width, shape.layers) > (student.width, student.layers)
    ]
    if fitting:
        return (f"student.preset={fitting[0]}",)
    return ("student.preset=null", *(f"student.{name}={value}" for name, value in vars(larger).items()))


def _numbers(student: StudentShape, larger: StudentShape) -> tuple[str, ...]:
    return tuple(f"student.{name}={value}" for name, value in vars(larger).items() if value != vars(student)[name])


def _fits(shape: StudentShape, teacher: StudentShape) -> bool:
    return (
        shape.heads == teacher.heads
        and shape.width <= teacher.width
        and shape.ffn_width <= teacher.ffn_width
        and shape.layers <= teacher.layers
    )


def _larger(student: StudentShape, teacher: StudentShape | None) -> StudentShape:
    layers, width, ffn_width = student.layers + MORE_LAYERS, student.width, student.ffn_width
    if teacher is not None:
        layers = max(student.layers, min(teacher.layers, layers))
        if student.width < teacher.width:
            layers, width = student.layers, min(teacher.width, 2 * student.width)
            width -= width % student.heads
            ffn_width = max(student.ffn_width, min(teacher.ffn_width, 4 * width))
    if width <= student.width:
        width, ffn_width = student.width, student.ffn_width
    return StudentShape(layers=layers, width=width, ffn_width=ffn_width, heads=student.heads)
