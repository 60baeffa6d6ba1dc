import { JOURNAL_FULL } from './journal-room.js';

/** The reason that a caller gets: without any path of this machine. */
const WHY: Readonly<Record<string, string>> = {
  ENOSPC: 'no space is left on its disk',
  EDQUOT: 'its quota is used up',
  EROFS: 'its file system is read-only',
  EIO: 'its disk fails',
  EFBIG: 'its file has become too large',
  [JOURNAL_FULL]: 'audit.keep.size is used up by records that a sink has not delivered',
};

/** The message for a call that was not made because its decision cannot be put on record. */
export function unrecorded(failure: Error): string {
  const why = WHY[String((failure as NodeJS.ErrnoException).code)];
  return `the audit trail cannot be written${why === undefined ? '' : ` (${why})`}, so the call was not made; tell the administrator of the guard`;
}
