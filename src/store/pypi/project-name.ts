/** PEP 503: runs of `-`, `_` and `.` are one dash, case does not matter. */
export function normalizeProjectName(name: string): string {
  return name.replace(/[-_.]+/g, '-').toLowerCase()
}
