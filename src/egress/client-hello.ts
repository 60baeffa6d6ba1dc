/** What the first bytes of a TLS connection say (RFC 8446 section 4.1.2, RFC 6066 section 3). */
export type Hello =
  /** More bytes are needed. */
  | { readonly state: 'partial' }
  /** `name` undefined: it names no server. Lower-case, without a trailing dot. */
  | { readonly state: 'complete'; readonly name: string | undefined }
  /** No TLS, or nothing that has one clear reading. */
  | { readonly state: 'bad'; readonly reason: string };

/** With post-quantum key shares and many extensions a hello has 2 KB; more than this is none of a usual client. */
export const MAX_HELLO_BYTES = 16_384;

const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const SERVER_NAME = 0;
const HOST_NAME = 0;

/** Reads a ClientHello, however it is cut into records. Linear; never throws. */
export function readHello(bytes: Buffer): Hello {
  const handshake = joinRecords(bytes);
  if (!Buffer.isBuffer(handshake)) return handshake;
  if (handshake.length < 4) return partial(bytes);
  if (handshake[0] !== CLIENT_HELLO) return bad('the first message is no ClientHello');
  const length = handshake.readUIntBE(1, 3);
  if (length > MAX_HELLO_BYTES) return bad('the ClientHello is too long');
  if (handshake.length < 4 + length) return partial(bytes);
  const fields = reader(handshake.subarray(4, 4 + length));
  fields.skip(2 + 32);
  fields.block(1);
  fields.block(2);
  fields.block(1);
  // SSL 3 and TLS 1.0 know hellos that end here.
  if (fields.ok() && fields.left() === 0) return { state: 'complete', name: undefined };
  const extensions = reader(fields.block(2));
  if (!fields.ok() || fields.left() !== 0) return bad('the ClientHello is damaged');
  const seen = new Set<number>();
  let name: string | undefined;
  while (extensions.left() > 0) {
    const type = extensions.number(2);
    const data = extensions.block(2);
    if (!extensions.ok()) return bad('an extension of the ClientHello is damaged');
    // Two server names: one for us and one for the server.
    if (seen.has(type)) return bad('an extension of the ClientHello comes twice');
    seen.add(type);
    if (type !== SERVER_NAME) continue;
    name = readServerName(data);
    if (name === undefined) return bad('the server name of the ClientHello is damaged');
  }
  return { state: 'complete', name };
}

function readServerName(data: Buffer): string | undefined {
  const fields = reader(data);
  const list = reader(fields.block(2));
  const type = list.number(1);
  const name = list.block(2).toString('latin1');
  if (!fields.ok() || !list.ok() || fields.left() !== 0 || list.left() !== 0 || type !== HOST_NAME)
    return undefined;
  if (!/^[A-Za-z0-9._-]{1,255}$/.test(name)) return undefined;
  return name.toLowerCase().replace(/\.$/, '');
}

/** The contents of the handshake records at the start, one after the other, as far as the hello reaches. */
function joinRecords(bytes: Buffer): Buffer | Hello {
  const joined = Buffer.alloc(bytes.length);
  let size = 0;
  for (let at = 0; at < bytes.length;) {
    // What follows the hello is not read.
    if (size >= 4 && size >= 4 + joined.readUIntBE(1, 3)) break;
    if (bytes[at] !== HANDSHAKE) return bad(at === 0 ? 'that is no TLS' : 'the ClientHello is interrupted');
    if (at + 5 > bytes.length) break;
    if (bytes[at + 1] !== 3) return bad('that is no TLS');
    const length = bytes.readUInt16BE(at + 3);
    if (length === 0 || length > MAX_HELLO_BYTES) return bad('a TLS record has an impossible length');
    size += bytes.copy(joined, size, at + 5, at + 5 + length);
    at += 5 + length;
  }
  return joined.subarray(0, size);
}

function partial(bytes: Buffer): Hello {
  return bytes.length >= MAX_HELLO_BYTES ? bad('the ClientHello is too long') : { state: 'partial' };
}

function bad(reason: string): Hello {
  return { state: 'bad', reason };
}

/** Reads fields in order; after the first that does not fit, everything is empty and `ok` false. */
function reader(data: Buffer) {
  let at = 0;
  let fits = true;
  const take = (length: number): Buffer => {
    if (!fits || at + length > data.length) {
      fits = false;
      return Buffer.alloc(0);
    }
    at += length;
    return data.subarray(at - length, at);
  };
  const number = (width: number): number => {
    const bytes = take(width);
    return fits ? bytes.readUIntBE(0, width) : 0;
  };
  return {
    number,
    skip: (length: number): void => void take(length),
    block: (width: number): Buffer => take(number(width)),
    left: (): number => (fits ? data.length - at : 0),
    ok: (): boolean => fits,
  };
}
