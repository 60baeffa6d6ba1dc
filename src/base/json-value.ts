/**
 * A decoded JSON value. Objects inherit nothing (so `__proto__` is an ordinary key). An integer that a double
 * cannot hold exactly is a `bigint`: Go reads int64, and 9007199254740993 must survive (encoding/json, decode.go).
 */
export type JsonValue = null | boolean | number | bigint | string | JsonValue[] | JsonObject;
export interface JsonObject {
  [key: string]: JsonValue;
}
