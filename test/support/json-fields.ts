/** Paths of all fields of a record, `client.address`; lists are looked into. Names inside of facts are the caller's: they count too. */
export function fieldsOf(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(fieldsOf);
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => [
    name,
    ...fieldsOf(inner).map((rest) => `${name}.${rest}`),
  ]);
}
