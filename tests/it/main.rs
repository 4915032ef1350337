//! Fast tests of the parts together: the store on real files, the domain's rules, and the tidiness of the tree.

mod domain_accounts;
mod domain_catalog;
mod domain_jobs;
mod domain_kit;
mod domain_ports;
mod domain_ports_property;
mod domain_servers;
mod store_file;
mod store_writes;
mod tidy;
