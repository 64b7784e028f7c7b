/* Where a test's programs listen if they listen there again after they were killed. Connections on this machine come from
 * 127.0.0.1, whatever they go to (test_flood's from 127.0.0.2 as well); each has a port there, and while it has it, nobody
 * can listen on that. So who gives up a port of 127.0.0.1 may not get it back: not one time in ten beside ten thousand
 * connections. */
#ifndef TR_TESTS_LOOPBACK_H
#define TR_TESTS_LOOPBACK_H

#define LISTENS_AGAIN "127.0.0.9"

#endif
