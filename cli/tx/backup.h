/* `troupe tx backup|restore`: a copy of what transactions of a node keep, taken while it runs, and put where another
 * starts with it. A backup is a directory with the files of the node (docs/backups.md) and backup.json, which is
 * written last: {"troupe_backup": 1, "node", "log" (its id), "lsn" (of its last record), "taken_ms" (since 1970), "files":
 * [{"name", "bytes", "crc32c"}]}. The main thread. */
#ifndef TR_CLI_TX_BACKUP_H
#define TR_CLI_TX_BACKUP_H

#define TX_MANIFEST "backup.json"

/* argv[0] is the word itself; the exit status. */
int tx_backup_command(int argc, char **argv);
int tx_restore_command(int argc, char **argv);

#endif
