/**
 * What a JSON body (or a JSON-valued query parameter) may hold: the Go type that dockerd decodes into.
 * Field names are spelled as the API spells them; matching folds case as encoding/json does.
 */
export type Schema =
  | { readonly type: 'string' }
  | { readonly type: 'boolean' }
  /** Go integer; a literal with a fraction or exponent, or out of range, is an error there. */
  | { readonly type: 'integer'; readonly bits: 8 | 16 | 32 | 64; readonly unsigned?: true }
  | { readonly type: 'float' }
  /** `[]byte`: a base64 string. */
  | { readonly type: 'bytes' }
  | { readonly type: 'array'; readonly items: Schema }
  /** `map[string]T`: keys are data, never folded. */
  | { readonly type: 'map'; readonly values: Schema }
  | { readonly type: 'object'; readonly fields: Readonly<Record<string, Schema>> }
  /** `strslice.StrSlice`: a string or an array of strings (Cmd, Entrypoint); read as an array. */
  | { readonly type: 'strslice' }
  /** `json.RawMessage` or `any`: kept as it is. */
  | { readonly type: 'any' }
  /** Another named schema of the table, for recursive and shared types. */
  | { readonly type: 'ref'; readonly name: string };
