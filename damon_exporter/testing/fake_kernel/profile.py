"""The kernels that the fake can be. Only these two were measured; what lies between is not known well enough."""

from dataclasses import dataclass

KNOWN = ("6.12", "7.3")


@dataclass(frozen=True, slots=True)
class Profile:
    """A kernel's version; rules that differ between versions ask `since`."""

    version: tuple[int, int]

    @classmethod
    def named(cls, name: str) -> "Profile":
        """The profile called ``"6.12"`` or ``"7.3"``."""
        if name not in KNOWN:
            raise ValueError(f"no fake of kernel {name}: choose one of {', '.join(KNOWN)}")
        major, minor = name.split(".")
        return cls((int(major), int(minor)))

    @property
    def name(self) -> str:
        """As given to `named`."""
        return "{}.{}".format(*self.version)

    def since(self, name: str) -> bool:
        """Whether this kernel is of that release or a later one."""
        major, minor = name.split(".")
        return self.version >= (int(major), int(minor))
