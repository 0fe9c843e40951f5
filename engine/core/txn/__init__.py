"""The transaction coordinator: producer ids and epochs of transactional ids, and the state of their transactions."""
