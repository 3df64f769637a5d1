"""What preflight found, as text."""

from llpf_plugin.preflight import Finding


def of_level(findings: list[Finding], level: str) -> list[str]:
    return [str(finding) for finding in findings if finding.level == level]


def the_error(findings: list[Finding]) -> str:
    (error,) = of_level(findings, "error")
    return error
